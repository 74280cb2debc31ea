"""Net benefit is what Vickers and Elkin wrote down."""

from __future__ import annotations

import numpy as np
import pytest

from pneumoscope.evaluation import compute_decision_curve


def _draw(rng, n=400):
    logits = rng.normal(-0.5, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    return labels, 1 / (1 + np.exp(-logits))


def test_net_benefit_counts_a_false_alarm_at_its_price(rng):
    labels, probabilities = _draw(rng)
    curve = compute_decision_curve(labels, probabilities)
    for place in (0, 9, 49, 98):
        cut = curve.thresholds[place]
        called = probabilities >= cut
        tp, fp = (called & (labels == 1)).sum(), (called & (labels == 0)).sum()
        assert curve.model[place] == pytest.approx(tp / 400 - fp / 400 * cut / (1 - cut))
        alarms = (labels == 0).sum() / 400 * cut / (1 - cut)
        assert curve.treat_all[place] == pytest.approx(labels.mean() - alarms)


def test_treating_all_is_worth_nothing_at_the_share_of_the_sick():
    labels = np.repeat([0, 1], [80, 20])
    curve = compute_decision_curve(labels, np.full(100, 0.2), thresholds=np.array([0.1, 0.2, 0.3]))
    assert curve.treat_all[1] == pytest.approx(0)
    assert curve.model.tolist() == pytest.approx([curve.treat_all[0], 0, 0])
    assert (curve.treat_none == 0).all()


def test_a_good_model_is_useful_in_between_and_a_blind_one_nowhere(rng):
    labels, probabilities = _draw(rng, n=1500)
    low, high = compute_decision_curve(labels, probabilities).find_useful_range()
    assert 0.05 < low < 0.45 < high
    blind = compute_decision_curve(labels, rng.permutation(probabilities))
    assert blind.find_useful_range() is None


def test_the_band_holds_the_curve_and_knows_of_patients(rng):
    labels, probabilities = (np.repeat(column, 5) for column in _draw(rng, n=80))
    alone = compute_decision_curve(labels, probabilities)
    patients = [f"p{i}" for i in np.repeat(np.arange(80), 5)]
    together = compute_decision_curve(labels, probabilities, patients)
    assert ((alone.low <= alone.model) & (alone.model <= alone.high)).all()
    assert (together.high - together.low).mean() > 1.5 * (alone.high - alone.low).mean()

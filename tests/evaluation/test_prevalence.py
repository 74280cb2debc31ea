"""Predictive values follow Bayes' rule, and their intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from pneumoscope.evaluation import project_to_prevalences, wilson_interval


def _sample(tp, fn, fp, tn):
    labels = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    return labels, np.repeat([True, False, True, False], [tp, fn, fp, tn])


def test_a_worked_example():
    """Sensitivity 90 %, specificity 91 %, of 1,000 women 10 sick (Gigerenzer et al. 2007): nine are
    found, one is missed, 89 flagged in vain; about one positive in ten is sick."""
    (answer,) = project_to_prevalences(*_sample(90, 10, 9, 91), [0.01])
    assert answer.missed == pytest.approx(1)
    assert answer.flagged_in_vain == pytest.approx(89.1)
    assert answer.ppv == pytest.approx(9 / (9 + 89.1))
    assert answer.npv == pytest.approx(900.9 / 901.9)


def test_at_the_samples_own_share_they_are_those_of_the_sample():
    (answer,) = project_to_prevalences(*_sample(80, 20, 30, 170), [100 / 300])
    assert answer.ppv == pytest.approx(80 / 110)
    assert answer.npv == pytest.approx(170 / 190)


def test_counts_have_the_width_of_wilson_where_no_error_was_seen():
    (answer,) = project_to_prevalences(*_sample(40, 0, 0, 60), [0.2])
    assert answer.missed == answer.flagged_in_vain == 0
    assert answer.intervals["missed"].high == pytest.approx(200 * (1 - wilson_interval(40, 40).low))
    assert answer.intervals["ppv"].low < 0.9
    assert answer.intervals["npv"].low < 0.99
    assert answer.intervals["ppv"].high == answer.ppv == 1


def test_every_interval_holds_its_number():
    for answer in project_to_prevalences(*_sample(7, 3, 2, 9), [0.001, 0.3, 0.999]):
        for name, interval in answer.intervals.items():
            assert interval.low <= getattr(answer, name) <= interval.high, name


def test_patients_widen_the_ranges(rng):
    base = np.repeat(rng.random(30) < 0.7, 6)
    labels = np.repeat(np.arange(30) % 2, 6)
    called = np.where(labels == 1, base, ~base)
    patients = [f"p{i}" for i in np.repeat(np.arange(30), 6)]
    (alone,) = project_to_prevalences(labels, called, [0.2])
    (together,) = project_to_prevalences(labels, called, [0.2], patients)
    for name in ("ppv", "missed", "flagged_in_vain"):
        narrow, wide = alone.intervals[name], together.intervals[name]
        assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low), name


def test_intervals_of_predictive_values_cover_the_truth(rng):
    held = {"ppv": 0, "npv": 0}
    truth = {"ppv": 0.9 * 0.2 / (0.9 * 0.2 + 0.15 * 0.8), "npv": 0.85 * 0.8 / (0.85 * 0.8 + 0.02)}
    labels = np.repeat([1, 0], [80, 120])
    for _ in range(200):
        called = rng.random(200) < np.where(labels == 1, 0.9, 0.15)
        (answer,) = project_to_prevalences(labels, called, [0.2])
        for name, interval in answer.intervals.items():
            held[name] = held.get(name, 0) + (
                name in truth and interval.low <= truth[name] <= interval.high
            )
    assert held["ppv"] / 200 >= 0.92
    assert held["npv"] / 200 >= 0.92


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_unknown_what_needs_two(label):
    (answer,) = project_to_prevalences(np.full(9, label), np.ones(9, bool), [0.5])
    assert answer.ppv is None
    assert answer.npv is None
    assert (answer.missed is None) == (label == 0)
    assert "ppv" not in answer.intervals

"""Thresholds reach on validation what they were chosen for, and stay in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from pneumoscope.evaluation import (
    choose_operating_points,
    compute_metrics,
    count_cases_needed,
    fit_calibration,
)
from pneumoscope.evaluation.operating_points import NAMES


def _draw(rng, n=400, apart=0.3):
    labels = np.arange(n) % 2
    return labels, np.clip(rng.normal(0.35 + apart * labels, 0.15), 0, 1)


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 0.99])
def test_rule_out_reaches_its_sensitivity_at_the_highest_threshold(rng, target):
    labels, scores = _draw(rng)
    point = choose_operating_points(labels, scores, sensitivity=target)["rule_out"]
    found = compute_metrics(labels, scores, point.threshold)
    assert found.recall == point.sensitivity >= target
    higher = min(s for s in np.r_[scores[labels == 1], 1.0] if s >= point.threshold)
    above = compute_metrics(labels, scores, np.nextafter(higher, 2)).recall
    assert above < target or point.threshold == _balanced(labels, scores).threshold


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_rule_in_reaches_its_specificity(rng, target):
    labels, scores = _draw(rng)
    point = choose_operating_points(labels, scores, specificity=target)["rule_in"]
    found = compute_metrics(labels, scores, point.threshold)
    assert found.specificity == point.specificity >= target


def _balanced(labels, scores):
    return choose_operating_points(labels, scores)["balanced"]


def test_balanced_has_the_largest_youden_index(rng):
    labels, scores = _draw(rng)
    point = _balanced(labels, scores)
    best = max(
        (scores[labels == 1] >= t).mean() + (scores[labels == 0] < t).mean()
        for t in np.unique(scores)
    )
    assert point.sensitivity + point.specificity == pytest.approx(best)


def test_thresholds_lie_between_scores_so_that_rounding_changes_no_answer(rng):
    labels, scores = _draw(rng, n=40)
    for point in choose_operating_points(labels, scores).values():
        assert np.abs(scores - point.threshold).min() > 1e-6 or point.threshold in (0, 1)


def test_where_classes_are_apart_all_points_meet_in_the_gap():
    labels = np.repeat([0, 1], 50)
    scores = np.r_[np.linspace(0, 0.3, 50), np.linspace(0.7, 1, 50)]
    points = choose_operating_points(labels, scores)
    assert [points[name].threshold for name in NAMES] == pytest.approx([0.5] * 3)
    assert all(p.sensitivity == p.specificity == 1 for p in points.values())


def test_a_target_that_too_few_cases_support_says_so(rng):
    labels, scores = _draw(rng, n=40)
    points = choose_operating_points(labels, scores)
    assert "20 images are too few to support it" in points["rule_out"].target
    assert "too few" not in points["balanced"].target
    many = choose_operating_points(*_draw(rng, n=1000))
    assert all("too few" not in point.target for point in many.values())


@pytest.mark.parametrize("scores", [[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0.5] * 4])
def test_saturated_scores_still_give_thresholds(scores):
    points = choose_operating_points(np.array([0, 0, 1, 1]), np.array(scores, float))
    thresholds = [points[name].threshold for name in NAMES]
    assert thresholds == sorted(thresholds)
    assert all(0 <= t <= 1 for t in thresholds)


def test_a_specificity_out_of_reach_is_admitted():
    points = choose_operating_points(np.array([0, 0, 1, 1]), np.ones(4))
    assert points["rule_in"].threshold == 1
    assert points["rule_in"].specificity == 0
    assert points["rule_in"].target.endswith("(out of reach)")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_points_are_ordered_and_true_to_their_word(healthy, sick):
    labels, scores = np.repeat([0, 1], [len(healthy), len(sick)]), np.array(healthy + sick)
    points = choose_operating_points(labels, scores)
    thresholds = [points[name].threshold for name in NAMES]
    assert thresholds == sorted(thresholds)
    assert 0 <= thresholds[0] <= thresholds[-1] <= 1
    assert points["rule_out"].sensitivity >= 0.99
    for point in points.values():
        called = scores >= point.threshold
        assert called[labels == 1].mean() == point.sensitivity
        assert 1 - called[labels == 0].mean() == pytest.approx(point.specificity)


# -- labels that are not to be trusted ------------------------------------------------------------


def draw_calibrated(seed, n=4000, noise=0.0):
    """Return labels, some of them wrong, and probabilities that were calibrated on them."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    logits = rng.normal((truth * 2 - 1) * 3.0, 2.0)
    labels = np.where(rng.random(n) < noise, 1 - truth, truth)
    fitted = fit_calibration(labels, logits)
    return labels, logits, 1 / (1 + np.exp(-(logits / fitted.temperature + fitted.bias)))


@pytest.mark.parametrize("seed", range(3))
def test_calibrated_probabilities_reach_what_is_expected_of_them(seed):
    labels, _, probabilities = draw_calibrated(seed)
    points = choose_operating_points(
        labels, probabilities, sensitivity=0.98, specificity=0.97, trust_labels=False
    )
    assert points["rule_out"].sensitivity == pytest.approx(0.98, abs=0.006)
    assert points["rule_in"].specificity == pytest.approx(0.97, abs=0.006)
    assert points["rule_out"].target == "expected sensitivity of at least 98%"


def test_an_expected_threshold_hangs_less_on_the_images_that_were_drawn():
    """Forty samples of 400 with wrong labels: where does the logit of rule_out lie in each?"""

    def spread(trust):
        cuts = []
        for seed in range(40):
            labels, logits, probabilities = draw_calibrated(seed, n=400, noise=0.01)
            points = choose_operating_points(
                labels, probabilities, sensitivity=0.98, trust_labels=trust
            )
            cuts.append(logits[probabilities >= points["rule_out"].threshold].min())
        return np.std(cuts)

    assert spread(trust=False) < 0.7 * spread(trust=True)


# -- with confidence ------------------------------------------------------------------------------


def test_a_confident_rule_out_is_the_highest_threshold_whose_bound_holds(rng):
    from statsmodels.stats.proportion import proportion_confint

    labels, scores = _draw(rng, n=1200)
    point = choose_operating_points(labels, scores, sensitivity=0.95, confidence=0.95)["rule_out"]
    positives = np.sort(scores[labels == 1])
    missed = int((positives < point.threshold).sum())

    def bound(missed):  # a one-sided bound at 95 % is the low end of a two-sided one at 90 %
        return proportion_confint(600 - missed, 600, alpha=0.1, method="beta")[0]

    assert bound(missed) >= 0.95 > bound(missed + 1)
    assert point.target == "sensitivity of at least 95% with 95% confidence"
    plain = choose_operating_points(labels, scores, sensitivity=0.95)["rule_out"]
    assert point.threshold < plain.threshold


@pytest.mark.parametrize(("target", "cases"), [(0.99, 299), (0.95, 59), (0.9, 29)])
def test_how_many_cases_show_a_target(target, cases):
    """The first sample size for a tolerance limit without an error (Wilks 1941)."""
    labels = np.repeat([0, 1], [10, cases])
    scores = np.r_[np.zeros(10), np.linspace(0.4, 1, cases)]
    assert count_cases_needed(target) == cases
    enough = choose_operating_points(labels, scores, sensitivity=target, confidence=0.95)
    assert "cannot" not in enough["rule_out"].target
    less = choose_operating_points(labels[:-1], scores[:-1], sensitivity=target, confidence=0.95)
    assert f"{cases - 1} images cannot show it" in less["rule_out"].target
    assert f"{cases} would show it" in less["rule_out"].target
    assert less["rule_out"].sensitivity == 1


def test_a_confident_threshold_keeps_its_promise_among_others(rng):
    """Chosen on 200 sick images, it misses its target elsewhere in at most one of twenty draws."""
    kept = {"rule_out": 0, "rule_in": 0}
    for _ in range(300):
        labels = np.repeat([0, 1], 200)
        scores = 1 / (1 + np.exp(-rng.normal(labels)))
        points = choose_operating_points(
            labels, scores, sensitivity=0.9, specificity=0.9, confidence=0.95
        )
        logits = {name: np.log(p.threshold / (1 - p.threshold)) for name, p in points.items()}
        kept["rule_out"] += 1 - norm.cdf(logits["rule_out"] - 1) >= 0.9
        kept["rule_in"] += norm.cdf(logits["rule_in"]) >= 0.9
    assert kept["rule_out"] / 300 >= 0.93
    assert kept["rule_in"] / 300 >= 0.93


def test_a_confident_specificity_out_of_reach_is_admitted():
    points = choose_operating_points(np.array([0, 0, 1, 1]), np.ones(4), confidence=0.95)
    assert points["rule_in"].target.endswith("(out of reach)")


def test_confidence_needs_labels_that_count():
    with pytest.raises(ValueError, match="labels that are trusted"):
        choose_operating_points(
            np.array([0, 1]), np.array([0.1, 0.9]), confidence=0.95, trust_labels=False
        )

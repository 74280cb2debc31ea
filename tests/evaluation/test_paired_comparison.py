"""Two models on the same images, against statsmodels, published examples and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from pneumoscope.evaluation import (
    Answers,
    compare_answers,
    delong_test,
    mcnemar_test,
    newcombe_paired_interval,
)


def _pair(both, only_one, only_other, neither):
    counts = [both, only_one, only_other, neither]
    return np.repeat([True, True, False, False], counts), np.repeat(
        [True, False, True, False], counts
    )


def _draw(rng, n=120, ties=False):
    labels = (rng.random(n) < 0.6).astype(np.int64)
    shared = rng.normal(labels, 1)
    one, other = shared + rng.normal(0, 0.5, n), shared + rng.normal(0, 0.8, n)
    scores = [1 / (1 + np.exp(-s)) for s in (one, other)]
    return labels, *(np.round(s, 1) if ties else s for s in scores)


# -- McNemar --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 25), st.integers(0, 25), st.integers(0, 40))
def test_mcnemar_is_that_of_statsmodels(a, b, c, d):
    found = mcnemar_test(*_pair(a, b, c, d))
    assert (found.only_first, found.only_second) == (b, c)
    if b + c:
        assert found.p_exact == pytest.approx(mcnemar([[a, b], [c, d]], exact=True).pvalue)
    assert found.p_mid <= found.p_exact


def test_mcnemar_of_a_published_example():
    """Airway hyper-responsiveness before and after transplantation (Bentur et al. 2009), as worked
    out by Fagerland, Lydersen & Laake (2013): exact 0.070, mid-p 0.039."""
    found = mcnemar_test(*_pair(1, 1, 7, 12))
    assert found.p_exact == pytest.approx(0.0703, abs=5e-5)
    assert found.p_mid == pytest.approx(0.0391, abs=5e-5)


def test_equal_answers_are_no_evidence():
    assert mcnemar_test(*_pair(5, 0, 0, 3))[2:] == (1.0, 1.0)
    assert mcnemar_test(*_pair(5, 4, 4, 3))[2:] == (1.0, 1.0)


# -- Newcombe -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland et al. 2014, the same patients
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, method 10
    ],
)
def test_paired_intervals_of_published_examples(table, low, high):
    found = newcombe_paired_interval(*_pair(*table))
    digits = 5e-4 if table[0] == 1 else 5e-5
    assert (found.low, found.high) == pytest.approx((low, high), abs=digits)


def test_models_that_never_disagree_keep_a_width():
    found = newcombe_paired_interval(*_pair(30, 0, 0, 0))
    assert found.low < -0.05
    assert found.high > 0.05
    assert newcombe_paired_interval(np.array([], bool), np.array([], bool)) is None


# -- DeLong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_delong_is_the_textbook_formula(rng, ties):
    """Every pair of a sick and a well image, and the covariance matrix written out."""
    labels, one, other = _draw(rng, ties=ties)
    wins = [
        np.sign(s[labels == 1][:, None] - s[labels == 0][None, :]) / 2 + 0.5 for s in (one, other)
    ]
    rows = np.cov([w.mean(1) for w in wins]) / wins[0].shape[0]
    columns = np.cov([w.mean(0) for w in wins]) / wins[0].shape[1]
    covariance = rows + columns
    contrast = np.array([1, -1])
    difference = wins[0].mean() - wins[1].mean()
    error = np.sqrt(contrast @ covariance @ contrast)
    found = delong_test(labels, one, other)
    assert (found.first, found.second) == pytest.approx((wins[0].mean(), wins[1].mean()))
    assert found.difference == pytest.approx(difference)
    assert found.z == pytest.approx(difference / error)
    assert found.interval.low == pytest.approx(difference - 1.959964 * error, abs=1e-6)
    swapped = delong_test(labels, other, one)
    assert swapped.p == pytest.approx(found.p)


def test_delong_says_difference_as_often_as_it_should_where_there_is_none(rng):
    labels = np.repeat([0, 1], 40)
    rejected = 0
    for _ in range(400):
        shared = rng.normal(labels)
        pair = [shared + rng.normal(0, 1, 80) for _ in range(2)]
        rejected += delong_test(labels, *pair).p < 0.05
    assert 0.02 <= rejected / 400 <= 0.085


def test_delong_where_nothing_varies():
    labels = np.array([0, 0, 1, 1])
    apart, reversed_ = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.9, 0.8, 0.2, 0.1])
    assert delong_test(labels, apart, apart).p == 1
    assert delong_test(labels, apart, reversed_).p is None
    assert delong_test(labels[1:], apart[1:], apart[1:]) is None


# -- all of it ------------------------------------------------------------------------------------


def test_each_model_answers_at_its_own_threshold(rng):
    labels, one, other = _draw(rng)
    found = compare_answers(labels, Answers(one, 0.4), Answers(other, 0.7))
    sick = labels == 1
    assert found["sensitivity"].first == (one[sick] >= 0.4).mean()
    assert found["sensitivity"].second == (other[sick] >= 0.7).mean()
    assert found["specificity"].first == (one[~sick] < 0.4).mean()
    assert set(found) == {
        "sensitivity", "specificity", "accuracy", "auc", "average_precision", "brier"
    }  # fmt: skip
    for name, difference in found.items():
        assert difference.difference == pytest.approx(difference.first - difference.second)
        assert difference.interval.low <= difference.difference <= difference.interval.high, name


def test_a_model_does_not_differ_from_itself(rng):
    labels, one, _ = _draw(rng)
    found = compare_answers(labels, Answers(one, 0.5), Answers(one, 0.5))
    assert all(d.difference == 0 for d in found.values())
    assert found["auc"].test["delong"]["p"] == 1
    assert found["sensitivity"].interval.low < 0 < found["sensitivity"].interval.high


def test_the_bootstrap_agrees_with_delong_on_single_images(rng):
    labels, one, other = _draw(rng, n=400)
    auc = compare_answers(labels, Answers(one, 0.5), Answers(other, 0.5))["auc"]
    width = {name: i.high - i.low for name, i in auc.by_method.items()}
    assert width["bootstrap"] == pytest.approx(width["delong"], rel=0.15)


def test_one_class_leaves_what_can_be_compared(rng):
    scores = rng.random(20)
    found = compare_answers(np.ones(20, int), Answers(scores, 0.5), Answers(1 - scores, 0.5))
    assert set(found) == {"sensitivity", "accuracy", "brier"}

"""Numbers agree with scikit-learn and statsmodels, and stay sane where data are few or odd."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from pneumoscope.evaluation import (
    compute_auc,
    compute_average_precision,
    compute_metrics,
    delong_interval,
    wilson_interval,
)

#: Numbers that are no shares: correlations may be negative, ratios large.
UNBOUNDED = {"mcc", "likelihood_ratio_positive", "likelihood_ratio_negative"}


def _draw(rng, n=200, share=0.6, ties=False):
    """Return labels and scores that overlap, as a fair model gives them."""
    labels = (rng.random(n) < share).astype(np.int64)
    labels[:2] = 0, 1
    scores = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    return labels, np.round(scores, 1) if ties else scores


# -- against other libraries ----------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_numbers_are_those_of_scikit_learn(rng, share, ties):
    labels, scores = _draw(rng, share=share, ties=ties)
    found = compute_metrics(labels, scores, 0.5).to_dict()
    called = (scores >= 0.5).astype(int)
    report = sk.classification_report(
        labels, called, target_names=["normal", "pneumonia"], output_dict=True, zero_division=0
    )
    expected = {
        "auc": sk.roc_auc_score(labels, scores),
        "average_precision": sk.average_precision_score(labels, scores),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, called),
        "brier": sk.brier_score_loss(labels, scores),
        "accuracy": report["accuracy"],
        "precision": report["pneumonia"]["precision"],
        "recall": report["pneumonia"]["recall"],
        "f1": report["pneumonia"]["f1-score"],
        "support_pneumonia": report["pneumonia"]["support"],
        "precision_normal": report["normal"]["precision"],
        "recall_normal": report["normal"]["recall"],
        "f1_normal": report["normal"]["f1-score"],
        "support_normal": report["normal"]["support"],
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert [[found["tn"], found["fp"]], [found["fn"], found["tp"]]] == sk.confusion_matrix(
        labels, called
    ).tolist()


@pytest.mark.parametrize("n", [1, 2, 7, 40, 624, 100_000])
@pytest.mark.parametrize("share", [0, 0.03, 0.5, 0.97, 1])
def test_wilson_intervals_are_those_of_statsmodels(n, share):
    successes = round(share * n)
    expected = proportion_confint(successes, n, alpha=0.05, method="wilson")
    found = wilson_interval(successes, n)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert 0 <= found.low <= successes / n <= found.high <= 1


@pytest.mark.parametrize("ties", [False, True])
def test_delong_is_the_textbook_formula(rng, ties):
    labels, scores = _draw(rng, n=60, ties=ties)
    positives, negatives = scores[labels == 1], scores[labels == 0]
    wins = np.sign(positives[:, None] - negatives[None, :]) / 2 + 0.5
    variance = wins.mean(1).var(ddof=1) / len(positives) + wins.mean(0).var(ddof=1) / len(negatives)
    half = 1.959964 * np.sqrt(variance)
    found = delong_interval(labels, scores)
    assert found.low == pytest.approx(wins.mean() - half, abs=1e-6)
    assert found.high == pytest.approx(min(1, wins.mean() + half), abs=1e-6)


def test_intervals_hold_the_truth_about_as_often_as_they_say(rng):
    # The AUC of two normal distributions one standard deviation apart is 0.7602.
    labels = np.repeat([0, 1], [60, 40])
    held = 0
    for _ in range(400):
        interval = delong_interval(labels, rng.normal(labels))
        held += interval.low <= 0.7602 <= interval.high
    assert 0.91 <= held / 400 <= 0.98


# -- odd data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_what_needs_two_undefined(rng, label):
    labels = np.full(20, label)
    found = compute_metrics(labels, rng.random(20), 0.5).to_dict()
    undefined = ["auc", "average_precision", "balanced_accuracy"]
    undefined += ["specificity", "recall_normal"] if label else ["recall"]
    assert all(found[name] is None for name in undefined)
    assert not set(undefined) & set(found["intervals"])
    assert found["n"] == found["support_pneumonia"] + found["support_normal"] == 20


def test_equal_scores_rank_nothing():
    labels = np.array([0, 1, 1, 0, 1])
    found = compute_metrics(labels, np.full(5, 0.5), 0.5)
    assert found.auc == 0.5
    assert found.average_precision == pytest.approx(3 / 5)
    assert (found.tp, found.fp, found.fn, found.tn) == (3, 2, 0, 0)  # at the threshold is called
    assert found.precision_normal is None


@pytest.mark.parametrize(("label", "score"), [(0, 0.2), (0, 0.9), (1, 0.2), (1, 0.9)])
def test_a_single_image_is_judged(label, score):
    found = compute_metrics(np.array([label]), np.array([score]), 0.5)
    assert found.accuracy == float((score >= 0.5) == label)
    assert found.auc is None
    assert delong_interval(np.array([label]), np.array([score])) is None


def test_no_image_gives_no_interval():
    assert wilson_interval(0, 0) is None
    assert compute_auc(np.array([], int), np.array([])) is None
    assert compute_average_precision(np.array([], int), np.array([])) is None


def test_numbers_are_plain_and_fit_into_json(rng):
    tree = compute_metrics(*_draw(rng), threshold=0.5).to_dict()
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree


# -- patients -------------------------------------------------------------------------------------


def _draw_patients(rng, patients=40, images=5):
    """Return images of which those of one patient are much alike."""
    labels = np.repeat(rng.integers(0, 2, patients), images)
    base = np.repeat(rng.normal(0, 0.25, patients), images)
    scores = np.clip(0.4 + 0.2 * labels + base + rng.normal(0, 0.02, labels.size), 0, 1)
    return labels, scores, [f"p{i}" for i in np.repeat(np.arange(patients), images)]


def test_images_of_one_patient_widen_the_intervals(rng):
    labels, scores, patients = _draw_patients(rng)
    alone = compute_metrics(labels, scores, 0.5).intervals
    together = compute_metrics(labels, scores, 0.5, patients).intervals
    for name in ("accuracy", "recall", "specificity", "auc"):
        narrow, wide = alone[name], together[name]
        assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low), name


def test_unknown_patients_change_nothing(rng):
    labels, scores = _draw(rng)
    expected = compute_metrics(labels, scores, 0.5)
    assert compute_metrics(labels, scores, 0.5, [None] * len(labels)) == expected
    recall = wilson_interval(expected.tp, expected.positives)
    assert expected.intervals["recall"] == recall


def test_the_bootstrap_is_seeded(rng):
    labels, scores, patients = _draw_patients(rng)
    first = compute_metrics(labels, scores, 0.5, patients, seed=4)
    assert compute_metrics(labels, scores, 0.5, patients, seed=4) == first
    assert compute_metrics(labels, scores, 0.5, patients, seed=5) != first
    state = np.random.get_state()[1].tolist()
    compute_metrics(labels, scores, 0.5, patients)
    assert np.random.get_state()[1].tolist() == state  # the global one is left alone


def test_a_perfect_sample_does_not_claim_certainty():
    labels = np.repeat([0, 1], 10)
    patients = [f"p{i}" for i in range(20)]
    found = compute_metrics(labels, labels.astype(float), 0.5, patients)
    assert found.recall == 1
    assert found.intervals["recall"].low < 0.8


def test_a_heavier_patient_counts_as_its_images_do(rng):
    labels, scores, patients = _draw_patients(rng)
    found = compute_metrics(labels, scores, 0.5, patients)
    for name, interval in found.intervals.items():
        assert interval.low <= getattr(found, name) <= interval.high, name
        assert name in UNBOUNDED or 0 <= interval.low <= interval.high <= 1, name


# -- properties -----------------------------------------------------------------------------------

_SAMPLES = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1, allow_subnormal=False)), min_size=1, max_size=30
)


@settings(max_examples=15, deadline=None)
@given(_SAMPLES, st.floats(0, 1))
def test_counts_add_up(sample, threshold):
    labels, scores = (np.array(column) for column in zip(*sample, strict=True))
    found = compute_metrics(labels, scores.astype(float), threshold)
    assert found.tp + found.fn == found.positives == labels.sum()
    assert found.tn + found.fp == found.negatives
    assert found.n == len(sample)
    assert found.accuracy == pytest.approx((found.tp + found.tn) / found.n)
    for name, interval in found.intervals.items():
        assert interval.low <= interval.high, name
        assert name in UNBOUNDED or 0 <= interval.low <= interval.high <= 1, name


@settings(max_examples=15, deadline=None)
@given(_SAMPLES, st.floats(0, 1), st.floats(0, 1))
def test_a_lower_threshold_never_misses_more(sample, one, other):
    labels, scores = (np.array(column) for column in zip(*sample, strict=True))
    low, high = (compute_metrics(labels, scores.astype(float), t) for t in sorted((one, other)))
    assert low.fn <= high.fn
    assert low.fp >= high.fp
    assert low.auc == high.auc


@settings(max_examples=40, deadline=None)
@given(_SAMPLES)
def test_ranking_numbers_know_nothing_of_scale(sample):
    labels, scores = (np.array(column) for column in zip(*sample, strict=True))
    halved = scores.astype(float) / 2
    assert compute_auc(labels, halved) == compute_auc(labels, scores.astype(float))


def test_every_number_has_an_interval_with_width_even_without_errors():
    labels = np.array([0] * 5 + [1] * 8)
    scores = np.where(labels == 1, 0.9, 0.2).astype(np.float64)
    found = compute_metrics(labels, scores, 0.5)
    assert found.auc == 1
    smaller = wilson_interval(5, 5)
    for name in ("auc", "average_precision", "balanced_accuracy", "f1", "f1_normal"):
        assert found.intervals[name] == smaller, name
    for name in ("accuracy", "recall", "specificity"):
        assert found.intervals[name].low < 1, name


def test_the_brier_score_has_an_interval_around_it(rng):
    labels, scores = _draw(rng)
    found = compute_metrics(labels, scores, 0.5)
    interval = found.intervals["brier"]
    assert interval.low < found.brier < interval.high
    errors = (scores - labels) ** 2
    half = 1.96 * errors.std(ddof=1) / np.sqrt(len(errors))
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.2)

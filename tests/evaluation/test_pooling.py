"""Out-of-fold numbers agree with scikit-learn, image by image and resample by resample."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from pneumoscope.evaluation import compute_metrics, pool_predictions


@pytest.fixture
def answers(rng):
    labels = rng.integers(0, 2, 300)
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2, (3, 300)), 0, 1).round(2)  # with ties
    return labels, scores, scores >= rng.uniform(0.4, 0.6, (3, 300))


def test_values_are_the_means_of_the_seeds(answers):
    labels, scores, called = answers
    pooled = pool_predictions(labels, scores, called, [f"p{i // 3}" for i in range(300)])
    aucs = [roc_auc_score(labels, row) for row in scores]
    assert pooled["auc"].by_seed == pytest.approx(aucs)
    assert pooled["auc"].value == pytest.approx(np.mean(aucs))
    assert pooled["sensitivity"].value == pytest.approx(called[:, labels == 1].mean())
    assert pooled["specificity"].value == pytest.approx((~called[:, labels == 0]).mean())
    assert pooled["accuracy"].value == pytest.approx((called == labels).mean())
    for number in pooled.values():
        assert number.interval.low < number.value < number.interval.high


def test_patients_with_many_alike_images_widen_the_interval(answers):
    labels, scores, called = (np.repeat(part, 8, axis=-1) for part in answers)
    scores, called = scores[:1], called[:1]
    alone = pool_predictions(labels, scores, called, [None] * 2400)["auc"].interval
    together = pool_predictions(labels, scores, called, [f"p{i // 8}" for i in range(2400)])
    interval = together["auc"].interval
    assert interval.high - interval.low > 2 * (alone.high - alone.low)


def test_one_seed_at_one_threshold_agrees_with_the_metrics(answers):
    labels, scores, _ = answers
    groups = [f"p{i // 3}" for i in range(300)]
    one = pool_predictions(labels, scores[:1], scores[:1] >= 0.5, groups)
    other = compute_metrics(labels, scores[0], 0.5, groups)
    assert one["sensitivity"].value == pytest.approx(other.recall)
    assert one["auc"].interval.low == pytest.approx(other.intervals["auc"].low, abs=0.01)
    assert one["auc"].interval.high == pytest.approx(other.intervals["auc"].high, abs=0.01)


def test_seeds_that_err_apart_do_not_make_the_images_more():
    labels = np.array([1] * 30 + [0] * 30)
    called = np.stack([np.arange(60) % 2 == 0, np.arange(60) % 2 == 1])
    pooled = pool_predictions(labels, called * 0.5, called, [None] * 60)
    low, high = proportion_confint(15, 30, method="wilson")
    assert pooled["sensitivity"].value == 0.5
    assert pooled["sensitivity"].interval.low <= low + 1e-9
    assert pooled["sensitivity"].interval.high >= high - 1e-9


def test_no_error_is_no_certainty():
    labels = np.array([0, 1] * 10)
    scores = labels[None].astype(float)
    pooled = pool_predictions(labels, scores, scores > 0.5, [None] * 20)
    assert pooled["auc"].interval.low < 0.8
    assert pooled["auc"].interval.high == 1

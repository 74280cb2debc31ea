"""The interval of an AUC where images come in clusters, and ranks within folds."""

from __future__ import annotations

import numpy as np
import pytest

from pneumoscope.evaluation import (
    clustered_auc_interval,
    compute_auc,
    delong_interval,
    rank_within_folds,
    wilson_interval,
)


def _draw(rng, n=300, shift=1.0):
    labels = rng.integers(0, 2, n)
    return labels, rng.normal(size=n).round(1) + shift * labels


def test_single_images_give_delongs_interval(rng):
    labels, scores = _draw(rng)
    ours = clustered_auc_interval(labels, scores, np.arange(len(labels)))
    theirs = delong_interval(labels, scores)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_copies_of_images_add_nothing(rng):
    labels, scores = _draw(rng, 120)
    once = clustered_auc_interval(labels, scores, np.arange(120))
    thrice = clustered_auc_interval(
        np.repeat(labels, 3), np.repeat(scores, 3), np.repeat(np.arange(120), 3)
    )
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_it_agrees_with_a_bootstrap_over_clusters(rng):
    """Clusters of both classes with a shared effect, so that all terms of the variance count."""
    clusters = np.repeat(np.arange(150), 4)
    labels = rng.integers(0, 2, 600)
    scores = 0.8 * labels + rng.normal(size=150)[clusters] + rng.normal(size=600)
    rows = [np.flatnonzero(clusters == cluster) for cluster in range(150)]
    drawn = []
    for _ in range(600):
        taken = np.concatenate([rows[c] for c in rng.integers(0, 150, 150)])
        drawn.append(compute_auc(labels[taken], scores[taken]))
    interval = clustered_auc_interval(labels, scores, clusters)
    width = np.subtract(*np.quantile(drawn, [0.975, 0.025]))
    assert interval.high - interval.low == pytest.approx(width, rel=0.15)


@pytest.mark.parametrize(
    ("labels", "clusters"),
    [([1, 1, 1], [0, 1, 2]), ([0, 0, 1, 1], [0, 1, 2, 2]), ([0, 1], [0, 0])],
    ids=["one class", "one cluster of a class", "one cluster"],
)
def test_too_few_clusters_have_no_interval(labels, clusters):
    scores = np.linspace(0, 1, len(labels))
    assert clustered_auc_interval(np.array(labels), scores, np.array(clusters)) is None


def test_a_perfect_ranking_has_a_width_all_the_same():
    labels = np.repeat([0, 1], 20)
    interval = clustered_auc_interval(labels, labels * 1.0, np.arange(40))
    assert interval == wilson_interval(20, 20)
    assert clustered_auc_interval(labels, -labels * 1.0, np.arange(40)) == wilson_interval(0, 20)


def test_ranks_undo_the_scales_of_folds():
    folds = np.array([0, 0, 0, 1, 1, 1])
    scores = np.array([1.0, 2.0, 3.0, 100.0, 200.0, 300.0])
    ranks = rank_within_folds(scores, folds)
    assert ranks[:3] == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert ranks[3:] == pytest.approx(ranks[:3])


def test_a_constant_within_each_fold_is_chance():
    folds = np.repeat([0, 1], 50)
    labels = np.r_[np.ones(30), np.zeros(20), np.ones(20), np.zeros(30)].astype(int)
    scores = np.where(folds == 0, 0.4, 0.6)  # what a fold's share in training gives
    assert compute_auc(labels, scores) < 0.5
    assert compute_auc(labels, rank_within_folds(scores, folds)) == 0.5

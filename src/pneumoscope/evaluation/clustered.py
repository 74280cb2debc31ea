"""The AUC of images that come in clusters, and in folds that may not be ranked together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.intervals import Interval, Z, wilson_interval


def rank_within_folds(scores: Scores, folds: NDArray[np.int64]) -> Scores:
    """Return each score's mid-rank within its fold, 0..1.

    Models of different folds are on different scales: pooled scores of a feature that says nothing
    give an AUC below one half, since a fold rich in one class is judged by a model that saw less of
    it. Ranks do not.
    """
    ranks = np.empty(len(scores))
    for fold in np.unique(folds):
        rows = folds == fold
        ranks[rows] = (rankdata(scores[rows]) - 0.5) / rows.sum()
    return ranks


def clustered_auc_interval(
    labels: Labels, scores: Scores, clusters: NDArray[np.generic]
) -> Interval | None:
    """Return the 95 % interval of the AUC for clustered images (Obuchowski 1997), cut to 0..1.

    With one image a cluster it is DeLong's. Where no pair is ranked wrongly it would have no width,
    and gets that of a proportion of n of n, n being the clusters of the rarer class. None where a
    class has images of fewer than two clusters.
    """
    positive = labels == 1
    _, member = np.unique(clusters, return_inverse=True)
    sizes = {True: int(positive.sum()), False: int((~positive).sum())}
    if not all(sizes.values()):
        return None
    placed = _place(positive, scores)
    auc = placed[positive].mean()
    total = int(member.max()) + 1
    sums, variance, fewest = {}, 0.0, total
    for is_positive, rows in ((True, positive), (False, ~positive)):
        present = len(np.unique(member[rows]))
        if present < 2:
            return None
        fewest = min(fewest, present)
        spread = sums[is_positive] = np.bincount(member[rows], placed[rows] - auc, total)
        variance += present / (present - 1) * (spread**2).sum() / sizes[is_positive] ** 2
    shared = (sums[True] * sums[False]).sum()
    variance += 2 * total / (total - 1) * shared / (sizes[True] * sizes[False])
    if auc in {0.0, 1.0}:
        return wilson_interval(int(auc) * fewest, fewest)
    half = Z * np.sqrt(max(variance, 0.0))
    return Interval(max(0.0, float(auc - half)), min(1.0, float(auc + half)))


def _place(positive: NDArray[np.bool_], scores: Scores) -> Scores:
    """Return the share of the other class that each image is on the right side of; ties halve."""
    placed = np.empty(len(scores))
    ranks = rankdata(scores)
    for rows in (positive, ~positive):
        below = ranks[rows] - rankdata(scores[rows])
        placed[rows] = below / (~rows).sum()
    placed[~positive] = 1 - placed[~positive]
    return placed

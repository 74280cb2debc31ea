"""How much a model loses on the same images once they are changed, with the interval of the loss.

Paired: what an image gave before stands beside what it gives after, so that far smaller losses
show than by comparing two intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from pneumoscope.evaluation.metrics import LEVEL, Interval, Labels, Scores, compute_auc

_RESAMPLES = 1000


class Drop(NamedTuple):
    """A number before minus after; above 0 is a loss."""

    value: float
    interval: Interval


def measure_drops(
    labels: Labels,
    before: Scores,
    after: Scores,
    threshold: float,
    groups: Sequence[str | None] | None = None,
    seed: int = 0,
) -> dict[str, Drop]:
    """Return what `auc`, `sensitivity` and `specificity` lose; those undefined are absent.

    Intervals come from a bootstrap over patients, both sides on the same draws. Those of the
    proportions are never narrower than Agresti and Min's (2005), which keep a width where no
    answer changed.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    before, after
        Probabilities of the same N images, 0..1.
    threshold
        Probability from which PNEUMONIA is called.
    groups
        Patient of each image, None where unknown: it then stands for itself.
    """
    weights = _draw_weights(len(labels), groups, seed)
    found: dict[str, Drop] = {}
    auc = compute_auc(labels, before), compute_auc(labels, after)
    if auc[0] is not None and auc[1] is not None:
        resampled = _resample_auc(labels, before, weights) - _resample_auc(labels, after, weights)
        found["auc"] = Drop(auc[0] - auc[1], _take_middle(resampled))
    for name, ill in (("sensitivity", True), ("specificity", False)):
        among = (labels == 1) == ill
        if not among.any():
            continue
        right = [((scores >= threshold) == ill)[among] for scores in (before, after)]
        change = right[0].astype(np.float64) - right[1]
        part = weights[:, among]
        with np.errstate(divide="ignore", invalid="ignore"):
            one = _take_middle(part @ change / part.sum(1))
        other = agresti_min_interval(*right)
        wider = Interval(min(one.low, other.low), max(one.high, other.high))
        found[name] = Drop(float(change.mean()), wider)
    return found


def agresti_min_interval(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Interval:
    """Return the interval of the difference of paired proportions, first minus second.

    Wald's, once half a pair is added to each of the four kinds of pairs (Agresti & Min 2005,
    Statistics in Medicine 24:729), so that it has a width where no pair differs.
    """
    n = len(first) + 2
    lost, won = (first & ~second).sum() + 0.5, (~first & second).sum() + 0.5
    difference = (lost - won) / n
    error = np.sqrt((lost + won) / n - difference**2) / np.sqrt(n)
    half = float(norm.ppf((1 + LEVEL) / 2)) * error
    return Interval(max(-1.0, float(difference - half)), min(1.0, float(difference + half)))


def _draw_weights(n: int, groups: Sequence[str | None] | None, seed: int) -> Scores:
    """Return how often each image occurs in each resample of patients, float [R, N]."""
    # Pairs, so that a patient may have any name.
    names = [f"0 {i}" if g is None else f"1 {g}" for i, g in enumerate(groups or [None] * n)]
    _, member = np.unique(names, return_inverse=True)
    size = int(member.max()) + 1
    drawn = np.random.default_rng(seed).integers(0, size, (_RESAMPLES, size))
    drawn += size * np.arange(_RESAMPLES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=_RESAMPLES * size).reshape(_RESAMPLES, size)
    return counts.astype(np.float64)[:, member]


def _resample_auc(labels: Labels, scores: Scores, weights: Scores) -> Scores:
    """Return the AUC under each row of weights, float [R]; NaN where a class is missing."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    ordered, positive = weights[:, order], labels[order] == 1
    ill = np.add.reduceat(ordered * positive, starts, axis=1)
    well = np.add.reduceat(ordered * ~positive, starts, axis=1)
    outranked = np.cumsum(well, axis=1) - well / 2  # ties count one half
    with np.errstate(divide="ignore", invalid="ignore"):
        area: Scores = (ill * outranked).sum(1) / (ill.sum(1) * well.sum(1))
    return area


def _take_middle(values: Scores) -> Interval:
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))

"""How well scores rank sick above well, whatever the threshold."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.intervals import Interval, Z


def compute_auc(labels: Labels, scores: NDArray[np.floating[Any]]) -> float | None:
    """Return the area under the ROC curve; None where there is only one class."""
    if len(np.unique(labels)) < 2:
        return None
    return float(roc_auc_score(labels, scores))


def compute_average_precision(labels: Labels, scores: NDArray[np.floating[Any]]) -> float | None:
    """Return the average precision of the positive class; None where there is only one class."""
    if len(np.unique(labels)) < 2:
        return None
    return float(average_precision_score(labels, scores))


def delong_interval(labels: Labels, scores: NDArray[np.floating[Any]]) -> Interval | None:
    """Return DeLong's interval of the AUC (DeLong et al. 1988), cut to 0..1.

    None where there are fewer than two images of a class.
    """
    placed = place_scores(labels, scores)
    if min(len(placed.positives), len(placed.negatives)) < 2:
        return None
    auc = placed.positives.mean()
    variance = sum(part.var(ddof=1) / len(part) for part in placed)
    half = Z * np.sqrt(variance)
    return Interval(max(0.0, float(auc - half)), min(1.0, float(auc + half)))


class Placements(NamedTuple):
    """DeLong's structural components, whose means are both the AUC."""

    positives: Scores
    """float [P]: the share of NORMAL images that each pneumonia outranks; ties count one half."""
    negatives: Scores
    """float [N]: the share of pneumonias that outrank each NORMAL image."""


def place_scores(labels: Labels, scores: NDArray[np.floating[Any]]) -> Placements:
    """Return where each image lies among those of the other class (Sun & Xu 2014: by sorting)."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    with np.errstate(invalid="ignore"):
        return Placements(
            _count_below(negatives, positives) / np.float64(len(negatives)),
            1 - _count_below(positives, negatives) / np.float64(len(positives)),
        )


def _count_below(reference: NDArray[Any], values: NDArray[Any]) -> Scores:
    """Return how many of `reference` lie below each value; ties count one half."""
    ordered = np.sort(reference)
    low = np.searchsorted(ordered, values, "left")
    high = np.searchsorted(ordered, values, "right")
    return (low + high) / 2.0


class Ranking:
    """Images in the order of their scores, for numbers under many weights at once."""

    def __init__(self, labels: Labels, scores: Scores) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._positive = (labels == 1)[self._order]
        ordered = scores[self._order]
        # Equal scores are called together: only the ends of their runs are points of a curve.
        self._ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])

    def cumulate(self, weights: Scores) -> tuple[Scores, Scores]:
        """Return true and false positives, float [R, cuts + 1], as the threshold falls.

        `weights` is float [R, N]. The first cut calls nothing.
        """
        ordered = weights[:, self._order]
        hits = np.cumsum(ordered * self._positive, axis=1)[:, self._ends]
        false = np.cumsum(ordered, axis=1)[:, self._ends] - hits
        nothing = np.zeros((len(weights), 1))
        return np.hstack([nothing, hits]), np.hstack([nothing, false])

    def measure(self, weights: Scores) -> dict[str, Scores]:
        """Return `auc` and `average_precision`, float [R]; NaN where a resample has one class."""
        hits, false = self.cumulate(weights)
        positives, negatives = hits[:, -1], false[:, -1]
        whole = positives * negatives
        area = ((hits[:, 1:] + hits[:, :-1]) * np.diff(false, axis=1)).sum(1) / 2
        called = hits + false
        precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
        steps = (np.diff(hits, axis=1) * precision[:, 1:]).sum(1)
        return {
            "auc": np.where(whole > 0, area / whole, np.nan),
            "average_precision": np.where(whole > 0, steps / positives, np.nan),
        }

"""Out-of-fold predictions of several seeds, pooled: one number each, with a patient bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.metrics import (
    LEVEL,
    Interval,
    Labels,
    Scores,
    compute_auc,
    find_tie_ends,
    widen_interval,
)

_RESAMPLES = 1000


@dataclass(frozen=True)
class Pooled:
    """A number over all images, each answered by the model of its fold that never saw it."""

    value: float
    """Mean over the seeds."""
    by_seed: tuple[float, ...]
    interval: Interval
    """95 %, over patients; how runs differ is in `by_seed`, not in here."""


def pool_predictions(
    labels: Labels,
    scores: Scores,
    called: NDArray[np.bool_],
    groups: Sequence[str | None],
    seed: int = 0,
) -> dict[str, Pooled]:
    """Return `auc`, `sensitivity`, `specificity` and `accuracy` of out-of-fold predictions.

    The AUC ranks images of different folds, and so scores of different models, against each other:
    it is often lower than the mean of the folds, where their scores differ in scale (Forman and
    Scholz 2010, "Apples-to-apples in cross-validation studies").

    Parameters
    ----------
    labels
        int [N], both classes.
    scores
        float [S, N], one row a seed.
    called
        bool [S, N], whether PNEUMONIA was called at the threshold of the image's fold.
    groups
        Patient of each image; an image whose patient is unknown (None) stands alone.
    """
    positive = labels == 1
    correct = np.where(positive, called, ~called).mean(0)  # of the seeds
    number: dict[str, Callable[[Scores], float]] = {
        "sensitivity": lambda w: float((w * correct)[positive].sum() / w[positive].sum()),
        "specificity": lambda w: float((w * correct)[~positive].sum() / w[~positive].sum()),
        "accuracy": lambda w: float((w * correct).sum() / w.sum()),
    }
    rankings = [_Ranking(positive, row) for row in scores]
    number["auc"] = lambda w: float(np.mean([ranking.compute_auc(w) for ranking in rankings]))
    drawn = [w for w in _draw_weights(groups, seed) if w[positive].any() and w[~positive].any()]
    rights = [np.where(positive, row, ~row) for row in called]
    aucs = [compute_auc(labels, row) for row in scores]
    by_seed = {
        "auc": [value for value in aucs if value is not None],
        "sensitivity": [float(right[positive].mean()) for right in rights],
        "specificity": [float(right[~positive].mean()) for right in rights],
        "accuracy": [float(right.mean()) for right in rights],
    }
    smaller = int(min(positive.sum(), (~positive).sum()))
    pooled = {}
    for name, values in by_seed.items():
        tail = (1 - LEVEL) / 2
        low, high = np.quantile([number[name](weight) for weight in drawn], [tail, 1 - tail])
        # A bootstrap collapses where no error was seen.
        interval = widen_interval(Interval(float(low), float(high)), smaller)
        pooled[name] = Pooled(float(np.mean(values)), tuple(values), interval)
    return pooled


class _Ranking:
    """One seed's scores in order, so that a weighted AUC is a cumulative sum."""

    def __init__(self, positive: NDArray[np.bool_], scores: Scores) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._positive = positive[self._order]
        self._ends = find_tie_ends(scores[self._order])

    def compute_auc(self, weight: Scores) -> float:
        ordered = weight[self._order]
        hits = np.cumsum(ordered * self._positive)[self._ends]
        false = np.cumsum(ordered * ~self._positive)[self._ends]
        return float(np.trapezoid(np.r_[0, hits / hits[-1]], np.r_[0, false / false[-1]]))


def _draw_weights(groups: Sequence[str | None], seed: int) -> list[Scores]:
    """Return how often each image is in each resample of patients."""
    names = [f"image {i}" if g is None else f"patient {g}" for i, g in enumerate(groups)]
    _, member = np.unique(names, return_inverse=True)
    size = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    return [
        np.bincount(generator.integers(0, size, size), minlength=size)[member].astype(np.float64)
        for _ in range(_RESAMPLES)
    ]

"""Out-of-fold predictions of several seeds, pooled: one number each, with a patient bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.intervals import (
    Interval,
    join_intervals,
    percentile_interval,
    widen_interval,
    wilson_interval,
)
from pneumoscope.evaluation.ranking import Ranking, compute_auc, delong_interval
from pneumoscope.evaluation.resampling import find_clusters, resample


@dataclass(frozen=True)
class Pooled:
    """A number over all images, each answered by the model of its fold that never saw it."""

    value: float
    """Mean over the seeds."""
    by_seed: tuple[float, ...]
    interval: Interval
    """95 %, over patients, and never narrower than a formula gives for one seed; how runs differ is
    in `by_seed`, not in here."""


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
    right = np.where(positive, called, ~called)
    correct = right.mean(0)  # of the seeds
    rankings = [Ranking(labels, row) for row in scores]

    def measure(weights: Scores) -> dict[str, Scores]:
        counted = weights * correct
        return {
            "auc": np.mean([ranking.measure(weights)["auc"] for ranking in rankings], axis=0),
            "sensitivity": counted[:, positive].sum(1) / weights[:, positive].sum(1),
            "specificity": counted[:, ~positive].sum(1) / weights[:, ~positive].sum(1),
            "accuracy": counted.sum(1) / weights.sum(1),
        }

    resampled = resample(find_clusters(len(labels), groups), measure, seed=seed)
    aucs = [compute_auc(labels, row) for row in scores]
    by_seed = {
        "auc": [value for value in aucs if value is not None],
        "sensitivity": [float(row[positive].mean()) for row in right],
        "specificity": [float(row[~positive].mean()) for row in right],
        "accuracy": [float(row.mean()) for row in right],
    }
    smaller = int(min(positive.sum(), (~positive).sum()))
    formulas = {
        "auc": _average([delong_interval(labels, row) for row in scores]),
        **{
            name: wilson_interval(round(np.mean(by_seed[name]) * n), n)
            for name, n in (
                ("sensitivity", int(positive.sum())),
                ("specificity", int((~positive).sum())),
                ("accuracy", len(labels)),
            )
        },
    }
    pooled = {}
    for name, values in by_seed.items():
        # Seeds that err on other images average their errors away; what few images there are does
        # not become more by it.
        interval = join_intervals([percentile_interval(resampled[name]), formulas[name]])
        assert interval is not None  # both classes are there
        # A bootstrap collapses where no error was seen.
        pooled[name] = Pooled(
            float(np.mean(values)), tuple(values), widen_interval(interval, smaller)
        )
    return pooled


def _average(intervals: Sequence[Interval | None]) -> Interval | None:
    known = [interval for interval in intervals if interval is not None]
    if not known:
        return None
    return Interval(
        float(np.mean([interval.low for interval in known])),
        float(np.mean([interval.high for interval in known])),
    )

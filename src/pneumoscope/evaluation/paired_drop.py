"""How much a model loses on the same images once they are changed, with the interval of the loss.

Paired: what an image gave before stands beside what it gives after, so that far smaller losses
show than by comparing two intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.comparison import newcombe_paired_interval
from pneumoscope.evaluation.intervals import Interval, join_intervals, percentile_interval
from pneumoscope.evaluation.ranking import Ranking, compute_auc
from pneumoscope.evaluation.resampling import find_clusters, resample


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
    proportions are never narrower than Newcombe's, which keep a width where no answer changed.

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
    rankings = Ranking(labels, before), Ranking(labels, after)
    among = {"sensitivity": labels == 1, "specificity": labels == 0}
    right = [(scores >= threshold) == (labels == 1) for scores in (before, after)]
    change = right[0].astype(np.float64) - right[1]

    def measure(weights: Scores) -> dict[str, Scores]:
        one, other = (ranking.measure(weights)["auc"] for ranking in rankings)
        parts = {
            name: (weights[:, rows] @ change[rows]) / weights[:, rows].sum(1)
            for name, rows in among.items()
        }
        return {"auc": one - other, **parts}

    resampled = resample(find_clusters(len(labels), groups), measure, seed=seed)
    found: dict[str, Drop] = {}
    aucs = compute_auc(labels, before), compute_auc(labels, after)
    interval = percentile_interval(resampled["auc"])
    if aucs[0] is not None and aucs[1] is not None and interval is not None:
        found["auc"] = Drop(aucs[0] - aucs[1], interval)
    for name, rows in among.items():
        if rows.any():
            formula = newcombe_paired_interval(right[0][rows], right[1][rows])
            wider = join_intervals([formula, percentile_interval(resampled[name])])
            assert wider is not None  # there are rows
            found[name] = Drop(float(change[rows].mean()), wider)
    return found

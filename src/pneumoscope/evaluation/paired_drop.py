"""How much a model loses on the same images once they are changed, with the interval of the loss.

Paired: what an image gave before stands beside what it gives after, so that far smaller losses
show than by comparing two intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.comparison import Answers, compare_answers
from pneumoscope.evaluation.intervals import Interval


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
    found = compare_answers(
        labels, Answers(before, threshold), Answers(after, threshold), groups, seed
    )
    drops: dict[str, Drop] = {}
    for name in ("auc", "sensitivity", "specificity"):
        if name in found:
            lost = found[name]
            interval = lost.by_method.get("bootstrap") if name == "auc" else lost.interval
            if interval is not None:
                drops[name] = Drop(lost.difference, interval)
    return drops

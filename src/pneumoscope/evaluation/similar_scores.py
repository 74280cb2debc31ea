"""How often a score like this one was right: the labelled images with the nearest scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.intervals import Interval, wilson_interval

#: So many neighbours give an interval of at most ±14 points.
NEIGHBOURS = 50


@dataclass(frozen=True)
class SimilarScores:
    """What the images with the nearest scores turned out to be."""

    n: int
    positives: int
    """Of these, with pneumonia."""
    low: float
    high: float
    """The scores reach from here to there."""
    interval: Interval
    """Of the share with pneumonia: Wilson's."""

    @property
    def share(self) -> float:
        """Return the share with pneumonia."""
        return self.positives / self.n


def find_similar_scores(
    labels: Labels, probabilities: Scores, probability: float, n: int = NEIGHBOURS
) -> SimilarScores | None:
    """Return what the images with the nearest scores are; None where there are no images.

    All that are as near as the last of them count too, so that the order of the images does not.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    probabilities
        float [N], 0..1, calibrated as `probability` is.
    n
        How many; all where there are fewer.
    """
    if len(labels) == 0:
        return None
    distances = np.abs(probabilities - probability)
    reach = np.sort(distances)[min(n, len(distances)) - 1]
    near = distances <= reach
    scores = probabilities[near]
    positives, count = int((labels[near] == 1).sum()), int(near.sum())
    interval = wilson_interval(positives, count)
    assert interval is not None  # there is at least one
    return SimilarScores(count, positives, float(scores.min()), float(scores.max()), interval)

"""Drift of one number: the population stability index between two samples, and what chance gives.

The index and its limits are those of credit scoring (Siddiqi 2006, "Credit Risk Scorecards", ch. 9;
Lewis 1994): below 0.1 the two are alike, from 0.25 on they are not. Both are conventions. Between
small samples chance alone gives as much, so an index must also be beyond what chance gives: with
n and m images and B bins about chi-square with B - 1 degrees of freedom, times 1/n + 1/m (Yurdakul
2018, "Statistical Properties of Population Stability Index", Western Michigan University).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

WATCH, ALARM = 0.1, 0.25
#: With fewer images nothing is said.
MINIMUM = 100
#: How often two samples of one population may pass the level of chance: a check runs often.
FALSE_ALARMS = 0.001


class Drift(StrEnum):
    """What an index says."""

    TOO_FEW = "too few"
    NONE = "none"
    WATCH = "watch"
    ALARM = "alarm"


@dataclass(frozen=True)
class Stability:
    """How differently a number is distributed in two samples."""

    index: float
    """0 where both fill the bins alike; has no upper end."""
    chance: float
    """Passed by one in a thousand pairs of samples of one population."""
    edges: NDArray[np.float64]
    """The inner edges of the bins, rising, float64 [B - 1]."""
    reference: NDArray[np.float64]
    """Share of the reference in each bin, float64 [B]."""
    current: NDArray[np.float64]
    n: int
    """Of the current sample."""

    @property
    def drift(self) -> Drift:
        """Return what it says."""
        if self.n < MINIMUM:
            return Drift.TOO_FEW
        if self.index <= self.chance or self.index < WATCH:
            return Drift.NONE
        return Drift.ALARM if self.index >= ALARM else Drift.WATCH


def measure_stability(reference: ArrayLike, current: ArrayLike, bins: int = 10) -> Stability:
    """Compare how a number is distributed now with how it was.

    Bins end at the reference's quantiles; where many values are the same there are fewer bins.
    Half an image is added to every bin, so that an empty one does not make the index infinite.

    Parameters
    ----------
    reference, current
        Finite numbers, [M] and [N]; the reference not empty.

    Raises
    ------
    ValueError
        The reference is empty.
    """
    before, now = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if len(before) == 0:
        raise ValueError("a reference needs numbers to compare with, found none")
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    expected, actual = (
        _share(np.searchsorted(edges, v, "left"), len(edges)) for v in (before, now)
    )
    index = float(np.sum((actual - expected) * np.log(actual / expected)))
    chance = np.inf
    if len(now):
        spread = chi2.ppf(1 - FALSE_ALARMS, len(edges))
        chance = float(spread * (1 / len(before) + 1 / len(now)))
    return Stability(index, chance, edges, expected, actual, len(now))


def _share(places: NDArray[np.intp], edges: int) -> NDArray[np.float64]:
    counts = np.bincount(places, minlength=edges + 1) + 0.5
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares

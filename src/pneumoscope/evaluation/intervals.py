"""Confidence intervals of one number: of proportions, and from resamples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import beta, norm

from pneumoscope.evaluation.arrays import Scores

LEVEL = 0.95
#: The quantile of the normal distribution that belongs to the level, 1.96.
Z = float(norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Interval:
    """A two-sided 95 % confidence interval."""

    low: float
    high: float

    def to_list(self) -> list[float]:
        """Return [low, high], as it stands in JSON."""
        return [self.low, self.high]


class Estimate(NamedTuple):
    """A number with its interval; None where undefined."""

    value: float | None
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return {"value": self.value, "interval": self.interval and self.interval.to_list()}


def wilson_interval(successes: int, n: int) -> Interval | None:
    """Return Wilson's score interval of a proportion (Wilson 1927); None where n is 0."""
    if n == 0:
        return None
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    # At the ends the formula is exact in theory; rounding may leave a hair outside.
    low = 0.0 if successes == 0 else max(0.0, float(centre - half))
    high = 1.0 if successes == n else min(1.0, float(centre + half))
    return Interval(low, high)


def find_lower_bound(successes: int, n: int, confidence: float = LEVEL) -> float:
    """Return the exact one-sided lower bound of a proportion (Clopper & Pearson 1934).

    With this confidence the true share is at least so large; 0 where there is no success.
    """
    if successes == 0:
        return 0.0
    return float(beta.ppf(1 - confidence, successes, n - successes + 1))


def percentile_interval(values: Scores) -> Interval | None:
    """Return the middle 95 % of resampled values (Efron 1979); None where half are undefined.

    Resamples in which the number is undefined (NaN) are passed over; an interval that would have
    no end is none.
    """
    usable = values[~np.isnan(values)]
    if len(usable) == 0 or len(usable) < len(values) // 2:
        return None
    with np.errstate(invalid="ignore"):  # between a number and infinity there is no middle
        low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high)) if np.isfinite([low, high]).all() else None


def pivotal_interval(estimate: float, values: Scores, floor: float = 0.0) -> Interval | None:
    """Return the interval that mirrors the resamples about the estimate (Davison & Hinkley 1997).

    For numbers that noise can only raise, such as a calibration error: resampling adds noise once
    more, and mirroring takes it off. Cut at `floor`.
    """
    found = percentile_interval(values)
    if found is None:
        return None
    low, high = 2 * estimate - found.high, 2 * estimate - found.low
    return Interval(max(floor, low), max(floor, high))


def join_intervals(intervals: Iterable[Interval | None]) -> Interval | None:
    """Return the smallest interval that covers these; None where there is none.

    A bootstrap collapses where no error was seen, and a formula for independent images is too
    narrow where patients have several: the wider of the two is honest.
    """
    present = [interval for interval in intervals if interval is not None]
    if not present:
        return None
    return Interval(min(i.low for i in present), max(i.high for i in present))


def widen_interval(interval: Interval, n: int) -> Interval:
    """Return the interval; one without width, since no error was seen, gets that of n of n.

    `n` is the size of the smaller class: the wider of what its proportions allow.
    """
    if interval.low != interval.high or interval.low not in {0.0, 1.0} or n == 0:
        return interval
    wide = wilson_interval(n if interval.low else 0, n)
    assert wide is not None
    return wide

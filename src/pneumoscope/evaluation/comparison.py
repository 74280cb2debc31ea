"""Two models on the same images: the difference, its interval, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evaluation.intervals import (
    Interval,
    Z,
    join_intervals,
    percentile_interval,
    wilson_interval,
)
from pneumoscope.evaluation.metrics import count_weighted
from pneumoscope.evaluation.ranking import (
    Ranking,
    compute_auc,
    compute_average_precision,
    place_scores,
)
from pneumoscope.evaluation.resampling import find_clusters, resample


class McNemar(NamedTuple):
    """McNemar's test of paired answers (McNemar 1947)."""

    only_first: int
    """Images that the first alone answers rightly."""
    only_second: int
    p_exact: float
    """Binomial, two-sided: never too small, mostly too large."""
    p_mid: float
    """The mid-p value (Fagerland et al. 2013): the one to quote."""


class DeLong(NamedTuple):
    """DeLong's test of two AUCs on the same images (DeLong et al. 1988)."""

    first: float
    second: float
    difference: float
    """First minus second."""
    interval: Interval
    z: float | None
    p: float | None


@dataclass(frozen=True)
class Difference:
    """A number of both models, first minus second, and the intervals of the difference."""

    first: float
    second: float
    difference: float
    interval: Interval | None
    """The wider of the methods."""
    by_method: dict[str, Interval]
    test: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `comparison.json`."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "interval": self.interval and self.interval.to_list(),
            "intervals_by_method": {name: i.to_list() for name, i in self.by_method.items()},
            **self.test,
        }


class Answers(NamedTuple):
    """What a model said of N images, and from where on it calls PNEUMONIA."""

    probabilities: Scores
    threshold: float

    @property
    def called(self) -> NDArray[np.bool_]:
        """Where PNEUMONIA is called, bool [N]."""
        return self.probabilities >= self.threshold


def mcnemar_test(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """Test whether two models are right equally often on the same images, bool [N] each."""
    one, other = _count(first_right & ~second_right), _count(~first_right & second_right)
    n, fewer = one + other, min(one, other)
    if n == 0:
        return McNemar(0, 0, 1.0, 1.0)
    exact = min(1.0, 2 * float(binom.cdf(fewer, n, 0.5)))
    # From the uncut sum: at equal counts it is above 1.
    mid = 2 * float(binom.cdf(fewer, n, 0.5)) - float(binom.pmf(fewer, n, 0.5))
    return McNemar(one, other, exact, min(1.0, mid))


def delong_test(labels: Labels, first: Scores, second: Scores) -> DeLong | None:
    """Test whether two AUCs on the same images differ; None with fewer than two of a class.

    It takes images for independent: where patients have several, quote the bootstrap beside it.
    Where no image moves its place the difference has no spread: p is 1 if there is no difference,
    else undefined.
    """
    one, other = place_scores(labels, first), place_scores(labels, second)
    if min(len(one.positives), len(one.negatives)) < 2:
        return None
    a, b = float(one.positives.mean()), float(other.positives.mean())
    # The variance of the difference is that of the components' differences.
    variance = sum(float((x - y).var(ddof=1)) / len(x) for x, y in zip(one, other, strict=True))
    error = float(np.sqrt(variance))
    z, p = None, None
    if error or a == b:
        z = (a - b) / error if error else 0.0
        p = 2 * float(norm.sf(abs(z)))
    return DeLong(a, b, a - b, Interval(a - b - Z * error, a - b + Z * error), z, p)


def newcombe_paired_interval(
    first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]
) -> Interval | None:
    """Return the interval of the difference of paired proportions (Newcombe 1998, method 10).

    Built from Wilson's intervals, it keeps its width where the models never disagree.
    """
    n = len(first_right)
    both, neither = _count(first_right & second_right), _count(~first_right & ~second_right)
    only_one, only_other = _count(first_right & ~second_right), _count(~first_right & second_right)
    rows = both + only_one, only_other + neither
    columns = both + only_other, only_one + neither
    one, other = wilson_interval(rows[0], n), wilson_interval(columns[0], n)
    if one is None or other is None:
        return None
    p1, p2 = rows[0] / n, columns[0] / n
    cross = float(both * neither - only_one * only_other)
    if cross > 0:
        cross = max(cross - n / 2, 0.0)  # continuity correction, towards no correlation
    margins = math.prod((*rows, *columns))
    phi = cross / np.sqrt(margins) if margins else 0.0

    def combine(a: float, b: float) -> float:
        return float(np.sqrt(max(a**2 - 2 * phi * a * b + b**2, 0.0)))

    difference = p1 - p2
    return Interval(
        difference - combine(p1 - one.low, other.high - p2),
        difference + combine(one.high - p1, p2 - other.low),
    )


def _count(rows: NDArray[np.bool_]) -> int:
    return int(rows.sum())


def compare_answers(
    labels: Labels, first: Answers, second: Answers, groups: Groups = None, seed: int = 0
) -> dict[str, Difference]:
    """Compare two models on the same images, each at its own threshold.

    Returns `sensitivity`, `specificity` and `accuracy` with McNemar's test, `auc` with DeLong's,
    and `average_precision` and `brier`; those that need a class are absent without it. All
    differences have an interval from a bootstrap over patients, where both models are judged on
    the same draws; proportions Newcombe's beside it, the AUC DeLong's.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    groups
        Patient of each image, None where unknown.
    """
    resampled = _resample_differences(labels, first, second, groups, seed)
    found = _compare_proportions(labels, first, second, resampled)
    tested = delong_test(labels, first.probabilities, second.probabilities)
    if tested is not None:
        found["auc"] = _join(
            tested.first,
            tested.second,
            {"delong": tested.interval, "bootstrap": percentile_interval(resampled["auc"])},
            {"delong": {"z": tested.z, "p": tested.p}},
        )
    rest: dict[str, Callable[[Labels, Scores], float | None]] = {
        "auc": compute_auc,
        "average_precision": compute_average_precision,
        "brier": lambda labels, scores: float(((scores - labels) ** 2).mean()),
    }
    for name, compute in rest.items():
        one, other = compute(labels, first.probabilities), compute(labels, second.probabilities)
        if name not in found and one is not None and other is not None:
            interval = percentile_interval(resampled[name])
            found[name] = _join(one, other, {"bootstrap": interval}, {})
    return found


def _compare_proportions(
    labels: Labels, first: Answers, second: Answers, resampled: dict[str, Scores]
) -> dict[str, Difference]:
    right = [model.called == (labels == 1) for model in (first, second)]
    among = {
        "sensitivity": labels == 1,
        "specificity": labels == 0,
        "accuracy": np.ones(len(labels), np.bool_),
    }
    found = {}
    for name, rows in among.items():
        if not rows.any():
            continue
        one, other = right[0][rows], right[1][rows]
        intervals = {
            "newcombe": newcombe_paired_interval(one, other),
            "bootstrap": percentile_interval(resampled[name]),
        }
        test = {"mcnemar": mcnemar_test(one, other)._asdict()}
        found[name] = _join(float(one.mean()), float(other.mean()), intervals, test)
    return found


def _resample_differences(
    labels: Labels, first: Answers, second: Answers, groups: Groups, seed: int
) -> dict[str, Scores]:
    rankings = [Ranking(labels, model.probabilities) for model in (first, second)]

    def measure_model(model: Answers, ranking: Ranking, weights: Scores) -> dict[str, Scores]:
        derived = count_weighted(labels, model.called, weights).derive()
        return {
            "sensitivity": derived["recall"],
            "specificity": derived["specificity"],
            "accuracy": derived["accuracy"],
            "brier": weights @ (model.probabilities - labels) ** 2 / weights.sum(1),
            **ranking.measure(weights),
        }

    def measure(weights: Scores) -> dict[str, Scores]:
        one = measure_model(first, rankings[0], weights)
        other = measure_model(second, rankings[1], weights)
        return {name: one[name] - other[name] for name in one}

    return resample(find_clusters(len(labels), groups), measure, seed=seed)


def _join(
    first: float, second: float, intervals: dict[str, Interval | None], test: dict[str, Any]
) -> Difference:
    present = {name: interval for name, interval in intervals.items() if interval is not None}
    return Difference(
        first, second, first - second, join_intervals(present.values()), present, test
    )

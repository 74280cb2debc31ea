"""Metrics of a binary detector, each with its interval.

Positive means PNEUMONIA. Sensitivity is recall of the positive class; a false negative is a missed
pneumonia, the error that matters most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evaluation.intervals import (
    Interval,
    Z,
    join_intervals,
    percentile_interval,
    widen_interval,
    wilson_interval,
)
from pneumoscope.evaluation.ranking import (
    Ranking,
    compute_auc,
    compute_average_precision,
    delong_interval,
)
from pneumoscope.evaluation.resampling import RESAMPLES, Clusters, find_clusters, resample

_BESIDE = ("intervals", "by_method", "clusters")


class Counts(NamedTuple):
    """The confusion matrix: numbers, or arrays [R] of them where images carry weights."""

    tn: Any
    fp: Any
    fn: Any
    tp: Any

    def derive(self) -> dict[str, Any]:
        """Return every number that depends on the threshold; NaN or infinity where undefined."""
        tn, fp, fn, tp = (np.asarray(count, np.float64) for count in self)
        with np.errstate(divide="ignore", invalid="ignore"):
            recall, specificity = tp / (tp + fn), tn / (tn + fp)
            margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
            return {
                "accuracy": (tp + tn) / (tp + tn + fp + fn),
                "balanced_accuracy": (recall + specificity) / 2,
                "precision": tp / (tp + fp),
                "recall": recall,
                "f1": 2 * tp / (2 * tp + fp + fn),
                "specificity": specificity,
                "precision_normal": tn / (tn + fn),
                "f1_normal": 2 * tn / (2 * tn + fp + fn),
                "mcc": (tp * tn - fp * fn) / np.sqrt(margins),
                "likelihood_ratio_positive": recall / (1 - specificity),
                "likelihood_ratio_negative": (1 - recall) / specificity,
            }


@dataclass(frozen=True)
class Metrics:
    """What a threshold gives on labelled images; None where a number is undefined."""

    n: int
    positives: int
    threshold: float
    tn: int
    fp: int
    fn: int
    tp: int
    accuracy: float
    balanced_accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    specificity: float | None
    precision_normal: float | None
    f1_normal: float | None
    mcc: float | None
    """Matthews' correlation coefficient, -1..1."""
    likelihood_ratio_positive: float | None
    """Sensitivity / (1 - specificity): how much a positive answer raises the odds."""
    likelihood_ratio_negative: float | None
    """(1 - sensitivity) / specificity: how much a negative answer lowers them."""
    auc: float | None
    average_precision: float | None
    brier: float
    intervals: dict[str, Interval]
    """The one to quote: where patients are known the wider of formula and bootstrap."""
    by_method: dict[str, dict[str, Interval]] = field(default_factory=dict)
    """wilson, delong, log (of likelihood ratios) and bootstrap, each name → interval."""
    clusters: Clusters | None = field(default=None, compare=False)

    @property
    def negatives(self) -> int:
        """Number of NORMAL images."""
        return self.n - self.positives

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `metrics.json`."""
        names = [name for name in self.__dataclass_fields__ if name not in _BESIDE]
        tree: dict[str, Any] = {name: getattr(self, name) for name in names}
        tree["recall_normal"] = self.specificity
        tree["support_pneumonia"], tree["support_normal"] = self.positives, self.negatives
        tree["intervals"] = {name: i.to_list() for name, i in self.intervals.items()}
        tree["intervals_by_method"] = {
            method: {name: interval.to_list() for name, interval in found.items()}
            for method, found in self.by_method.items()
        }
        if self.clusters is not None:
            tree["bootstrap"] = {
                "unit": self.clusters.unit,
                "clusters": self.clusters.count,
                "resamples": RESAMPLES,
            }
        return tree


def compute_metrics(
    labels: Labels,
    probabilities: Scores,
    threshold: float,
    groups: Groups = None,
    seed: int = 0,
) -> Metrics:
    """Judge probabilities at a threshold; PNEUMONIA is called where probability >= threshold.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA).
    probabilities
        float [N], 0..1.
    threshold
        Probability from which PNEUMONIA is called.
    groups
        Patient of each image, None where unknown. Where any is known, intervals come from a
        bootstrap over patients, since images of one patient are not independent.
    """
    counts = count_answers(labels, probabilities >= threshold)
    clusters = find_clusters(len(labels), groups)
    by_method = _find_intervals(labels, probabilities, threshold, clusters, seed)
    derived = {
        name: float(value) if np.isfinite(value) else None
        for name, value in counts.derive().items()
    }
    return Metrics(
        n=len(labels),
        positives=int((labels == 1).sum()),
        threshold=float(threshold),
        **counts._asdict(),
        **derived,  # type: ignore[arg-type]
        auc=compute_auc(labels, probabilities),
        average_precision=compute_average_precision(labels, probabilities),
        brier=float(np.mean((probabilities - labels) ** 2)),
        intervals=_choose_intervals(by_method, clusters, labels, derived),
        by_method=by_method,
        clusters=clusters,
    )


def count_answers(labels: Labels, called: NDArray[np.bool_]) -> Counts:
    """Return the confusion matrix of answers, bool [N], True where PNEUMONIA is called."""
    positive = labels == 1
    return Counts(
        int((~called & ~positive).sum()),
        int((called & ~positive).sum()),
        int((~called & positive).sum()),
        int((called & positive).sum()),
    )


def count_weighted(labels: Labels, called: NDArray[np.bool_], weights: Scores) -> Counts:
    """Return the confusion matrices, each [R], of resamples with these weights, float [R, N]."""
    positive = labels == 1
    cells = (~called & ~positive, called & ~positive, ~called & positive, called & positive)
    return Counts(*(weights @ np.stack(cells, axis=1).astype(np.float64)).T)


def _find_intervals(
    labels: Labels, probabilities: Scores, threshold: float, clusters: Clusters, seed: int
) -> dict[str, dict[str, Interval]]:
    """Return method → name → interval."""
    called = probabilities >= threshold
    tn, fp, fn, tp = counts = count_answers(labels, called)
    proportions = {
        "accuracy": (tp + tn, len(labels)),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
        "precision_normal": (tn, tn + fn),
    }
    ranking = Ranking(labels, probabilities)
    errors = (probabilities - labels) ** 2

    def measure(weights: Scores) -> dict[str, Scores]:
        return {
            **count_weighted(labels, called, weights).derive(),
            **ranking.measure(weights),
            "brier": weights @ errors / weights.sum(1),
        }

    resampled = resample(clusters, measure, seed=seed)
    found = {
        "wilson": {name: wilson_interval(*pair) for name, pair in proportions.items()},
        "delong": {"auc": delong_interval(labels, probabilities)},
        "log": _find_ratio_intervals(counts),
        "bootstrap": {name: percentile_interval(values) for name, values in resampled.items()},
    }
    return {
        method: {name: interval for name, interval in named.items() if interval is not None}
        for method, named in found.items()
    }


def _find_ratio_intervals(counts: Counts) -> dict[str, Interval | None]:
    """Return the intervals of likelihood ratios, from their logarithms (Simel et al. 1991)."""
    tn, fp, fn, tp = counts

    def bound(one: int, sick: int, other: int, well: int) -> Interval | None:
        if not (one and other):
            return None
        ratio = (one / sick) / (other / well)
        half = Z * np.sqrt(1 / one - 1 / sick + 1 / other - 1 / well)
        return Interval(float(ratio * np.exp(-half)), float(ratio * np.exp(half)))

    return {
        "likelihood_ratio_positive": bound(tp, tp + fn, fp, tn + fp),
        "likelihood_ratio_negative": bound(fn, tp + fn, tn, tn + fp),
    }


def _choose_intervals(
    by_method: dict[str, dict[str, Interval]],
    clusters: Clusters,
    labels: Labels,
    values: dict[str, float | None],
) -> dict[str, Interval]:
    """Return the interval to quote for each number: formulas where there are any.

    Where patients are known, the wider of formula and bootstrap over patients. A number that is
    undefined has none.
    """
    bootstrap = by_method["bootstrap"]
    formulas = by_method["wilson"] | by_method["delong"] | by_method["log"]
    smaller = int(min((labels == 1).sum(), (labels == 0).sum()))
    chosen = {}
    for name in formulas | bootstrap:
        if name in values and values[name] is None:
            continue
        methods = [formulas.get(name)]
        if clusters.by_patient or methods == [None]:
            methods.append(bootstrap.get(name))
        interval = join_intervals(methods)
        assert interval is not None  # the name stands in one of the two
        chosen[name] = widen_interval(interval, smaller)
    return chosen

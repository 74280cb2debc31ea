"""Metrics of a binary detector, each with its interval.

Positive means PNEUMONIA. Sensitivity is recall of the positive class; a false negative is a missed
pneumonia, the error that matters most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

LEVEL = 0.95
_RESAMPLES = 1000

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A two-sided 95 % confidence interval."""

    low: float
    high: float


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
    auc: float | None
    average_precision: float | None
    brier: float
    intervals: dict[str, Interval]

    @property
    def negatives(self) -> int:
        """Number of NORMAL images."""
        return self.n - self.positives

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `metrics.json`."""
        names = [name for name in self.__dataclass_fields__ if name != "intervals"]
        tree: dict[str, Any] = {name: getattr(self, name) for name in names}
        tree["recall_normal"] = self.specificity
        tree["support_pneumonia"], tree["support_normal"] = self.positives, self.negatives
        tree["intervals"] = {name: [i.low, i.high] for name, i in self.intervals.items()}
        return tree


def compute_metrics(
    labels: Labels,
    probabilities: Scores,
    threshold: float,
    groups: Sequence[str | None] | None = None,
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
    called = probabilities >= threshold
    positive = labels == 1
    tp, fn = int((called & positive).sum()), int((~called & positive).sum())
    fp, tn = int((called & ~positive).sum()), int((~called & ~positive).sum())
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    both = None if sensitivity is None or specificity is None else (sensitivity + specificity) / 2
    return Metrics(
        n=len(labels),
        positives=int(positive.sum()),
        threshold=float(threshold),
        tn=tn,
        fp=fp,
        fn=fn,
        tp=tp,
        accuracy=(tp + tn) / len(labels),
        balanced_accuracy=both,
        precision=_ratio(tp, tp + fp),
        recall=sensitivity,
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        specificity=specificity,
        precision_normal=_ratio(tn, tn + fn),
        f1_normal=_ratio(2 * tn, 2 * tn + fp + fn),
        auc=compute_auc(labels, probabilities),
        average_precision=compute_average_precision(labels, probabilities),
        brier=float(np.mean((probabilities - labels) ** 2)),
        intervals=_find_intervals(labels, probabilities, threshold, groups, seed),
    )


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


def wilson_interval(successes: int, n: int) -> Interval | None:
    """Return Wilson's score interval of a proportion (Wilson 1927); None where n is 0."""
    if n == 0:
        return None
    z = float(norm.ppf((1 + LEVEL) / 2))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # At the ends the formula is exact in theory; rounding may leave a hair outside.
    low = 0.0 if successes == 0 else max(0.0, float(centre - half))
    high = 1.0 if successes == n else min(1.0, float(centre + half))
    return Interval(low, high)


def delong_interval(labels: Labels, scores: NDArray[np.floating[Any]]) -> Interval | None:
    """Return DeLong's interval of the AUC (DeLong et al. 1988), cut to 0..1.

    None where there are fewer than two images of a class.
    """
    positives, negatives = scores[labels == 1], scores[labels == 0]
    m, n = len(positives), len(negatives)
    if min(m, n) < 2:
        return None
    placed_pos = (_count_below(negatives, positives)) / n
    placed_neg = 1 - (_count_below(positives, negatives)) / m
    auc = placed_pos.mean()
    variance = placed_pos.var(ddof=1) / m + placed_neg.var(ddof=1) / n
    half = float(norm.ppf((1 + LEVEL) / 2)) * np.sqrt(variance)
    return Interval(max(0.0, float(auc - half)), min(1.0, float(auc + half)))


def _count_below(reference: NDArray[Any], values: NDArray[Any]) -> Scores:
    """Return how many of `reference` lie below each value; ties count one half."""
    ordered = np.sort(reference)
    low = np.searchsorted(ordered, values, "left")
    high = np.searchsorted(ordered, values, "right")
    return (low + high) / 2.0


def _find_intervals(
    labels: Labels,
    probabilities: Scores,
    threshold: float,
    groups: Sequence[str | None] | None,
    seed: int,
) -> dict[str, Interval]:
    """Return patient-bootstrap intervals where patients are known, else Wilson's and DeLong's."""
    patients_known = groups is not None and any(group is not None for group in groups)
    called, positive = probabilities >= threshold, labels == 1
    tp, fp = int((called & positive).sum()), int((called & ~positive).sum())
    fn, tn = int((~called & positive).sum()), int((~called & ~positive).sum())
    proportions = {
        "accuracy": (tp + tn, len(labels)),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
        "precision_normal": (tn, tn + fn),
    }
    found = {name: wilson_interval(*counts) for name, counts in proportions.items()}
    found["auc"] = delong_interval(labels, probabilities)
    resampled = _bootstrap(labels, probabilities, threshold, groups, seed)
    for name, values in resampled.items():
        usable = values[np.isfinite(values)]
        if len(usable) < _RESAMPLES // 2:
            continue
        low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        previous = found.get(name)
        if previous is None:
            found[name] = Interval(float(low), float(high))
        elif patients_known:
            # A bootstrap collapses where no error was seen; the wider of the two is honest.
            found[name] = Interval(min(previous.low, float(low)), max(previous.high, float(high)))
    smaller = int(min(positive.sum(), (~positive).sum()))
    return {
        name: widen_interval(interval, smaller)
        for name, interval in found.items()
        if interval is not None
    }


def widen_interval(interval: Interval, n: int) -> Interval:
    """Return the interval; one without width, since no error was seen, gets that of n of n.

    `n` is the size of the smaller class: the wider of what its proportions allow.
    """
    if interval.low != interval.high or interval.low not in {0.0, 1.0} or n == 0:
        return interval
    wide = wilson_interval(n if interval.low else 0, n)
    assert wide is not None
    return wide


def _bootstrap(
    labels: Labels,
    probabilities: Scores,
    threshold: float,
    groups: Sequence[str | None] | None,
    seed: int,
) -> dict[str, Scores]:
    """Resample patients with replacement (images where patients are unknown).

    A resample is a vector of weights, so that every metric is a weighted count.
    """
    n = len(labels)
    names = [f"image {i}" if g is None else g for i, g in enumerate(groups or [None] * n)]
    _, member = np.unique(names, return_inverse=True)
    size = int(member.max()) + 1 if n else 0
    generator = np.random.default_rng(seed)
    order = np.argsort(-probabilities, kind="stable")
    positive, called = labels == 1, probabilities >= threshold
    ends = find_tie_ends(probabilities[order])
    squared_errors = (probabilities - positive) ** 2
    keys = ("accuracy", "recall", "specificity", "precision", "precision_normal", "f1", "f1_normal")
    out = {
        k: np.full(_RESAMPLES, np.nan)
        for k in (*keys, "balanced_accuracy", "auc", "average_precision", "brier")
    }
    for row in range(_RESAMPLES):
        weight = np.bincount(generator.integers(0, size, size), minlength=size)[member].astype(
            float
        )
        tp, fn = weight[called & positive].sum(), weight[~called & positive].sum()
        fp, tn = weight[called & ~positive].sum(), weight[~called & ~positive].sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            values = (
                (tp + tn) / weight.sum(),
                tp / (tp + fn),
                tn / (tn + fp),
                tp / (tp + fp),
                tn / (tn + fn),
                2 * tp / (2 * tp + fp + fn),
                2 * tn / (2 * tn + fp + fn),
            )
            for key, value in zip(keys, values, strict=True):
                out[key][row] = value
            out["balanced_accuracy"][row] = (values[1] + values[2]) / 2
            out["brier"][row] = (weight * squared_errors).sum() / weight.sum()
            hits = np.cumsum((weight * positive)[order])[ends]
            false = np.cumsum((weight * ~positive)[order])[ends]
            tpr, fpr = np.r_[0, hits / hits[-1]], np.r_[0, false / false[-1]]
            out["auc"][row] = np.trapezoid(tpr, fpr)
            steps = np.diff(tpr) * (hits / np.maximum(hits + false, 1e-12))
            # Like the AUC, undefined where a resample has one class.
            out["average_precision"][row] = steps.sum() if false[-1] else np.nan
    return out


def find_tie_ends(ordered: Scores) -> NDArray[np.int64]:
    """Return the last index of every run of equal scores."""
    return np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None

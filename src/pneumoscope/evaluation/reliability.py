"""Calibration judged: of those given 80 %, do 80 % have it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evaluation.arrays import Groups, Labels, Scores
from pneumoscope.evaluation.calibration import measure_loss
from pneumoscope.evaluation.intervals import LEVEL, Interval, Z, pivotal_interval, wilson_interval
from pneumoscope.evaluation.resampling import Clusters, find_clusters, resample

BINS = 10
#: Samples drawn to see what noise alone does.
NOISE_SAMPLES = 500
#: Probabilities nearer to 0 or 1 than this have no usable logit.
_NEAREST = 1e-12


@dataclass(frozen=True)
class ReliabilityBin:
    """Images of about the same probability."""

    low: float
    high: float
    n: int
    mean_probability: float
    observed: float
    """Share of pneumonias."""
    interval: Interval
    """Wilson's, of the share."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `metrics.json`."""
        return {**vars(self), "interval": self.interval.to_list()}


def bin_probabilities(
    labels: Labels, probabilities: Scores, *, bins: int = BINS, equal_mass: bool = True
) -> list[ReliabilityBin]:
    """Return the filled bins of a reliability diagram, of equal counts or of equal widths.

    Equal probabilities share a bin, so that counts may differ a little.
    """
    found = []
    member, edges = _assign_bins(probabilities, bins, equal_mass)
    for index in np.unique(member):
        inside = member == index
        n, sick = int(inside.sum()), int(labels[inside].sum())
        interval = wilson_interval(sick, n)
        assert interval is not None  # the bin is filled
        found.append(
            ReliabilityBin(
                float(edges[index]),
                float(edges[index + 1]),
                n,
                float(probabilities[inside].mean()),
                sick / n,
                interval,
            )
        )
    return found


def _assign_bins(
    probabilities: Scores, bins: int, equal_mass: bool
) -> tuple[NDArray[np.int64], Scores]:
    """Return the bin of each image, and the edges of the bins."""
    if equal_mass:
        edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)))
        if len(edges) == 1:
            edges = np.repeat(edges, 2)
    else:
        edges = np.linspace(0, 1, bins + 1)
    member = np.searchsorted(edges[1:-1], probabilities, "right")
    return member.astype(np.int64), edges


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error, and its interval."""

    value: float
    interval: Interval | None
    noise: float
    """So much, or less, would 97.5 % of samples like this show of perfect probabilities."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `metrics.json`."""
        interval = self.interval and self.interval.to_list()
        return {"value": self.value, "interval": interval, "noise": self.noise}


def compute_calibration_error(
    labels: Labels,
    probabilities: Scores,
    groups: Groups = None,
    *,
    bins: int = BINS,
    equal_mass: bool = True,
    seed: int = 0,
) -> CalibrationError:
    """Return the mean distance between probability and share, weighted by bin (Naeini et al. 2015).

    Noise alone raises it, also of a perfect model, and the more the fewer images. The interval
    mirrors a patient bootstrap about the estimate, which takes a part of that excess off; where
    the value is no larger than noise (labels drawn anew from the probabilities, Bröcker & Smith
    2007), it begins at 0.
    """
    member, _ = _assign_bins(probabilities, bins, equal_mass)
    # In each bin the excess of probability over label; bins are those of the whole sample.
    inside = (member[:, None] == np.arange(int(member.max()) + 1)).astype(np.float64)
    excess = inside * (probabilities - labels)[:, None]

    def measure(weights: Scores) -> dict[str, Scores]:
        return {"ece": np.abs(weights @ excess).sum(1) / weights.sum(1)}

    value = float(np.abs(excess.sum(0)).sum() / len(labels))
    resampled = resample(find_clusters(len(labels), groups), measure, seed=seed)["ece"]
    interval = pivotal_interval(value, resampled)
    noise = float(np.quantile(_draw_noise(probabilities, inside, seed), (1 + LEVEL) / 2))
    if interval is not None and value <= noise:
        interval = Interval(0.0, max(interval.high, value))
    return CalibrationError(value, interval, noise)


def _draw_noise(probabilities: Scores, inside: Scores, seed: int) -> Scores:
    """Return the errors, float [R], of samples whose labels follow the probabilities."""
    generator = np.random.default_rng(seed)
    errors = []
    for _ in range(NOISE_SAMPLES):
        drawn = generator.random(len(probabilities)) < probabilities
        errors.append(np.abs((probabilities - drawn) @ inside).sum() / len(probabilities))
    return np.array(errors)


@dataclass(frozen=True)
class CalibrationLine:
    """Logistic recalibration, logit(share) = intercept + slope * logit(probability) (Cox 1958)."""

    slope: float
    """1 is right; below, probabilities are too extreme."""
    intercept: float
    """0 is right, beside a slope of 1."""
    in_the_large: float
    """The intercept at a slope of 1: above 0, probabilities are too low on the whole."""
    intervals: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in `metrics.json`."""
        return {
            "slope": self.slope,
            "intercept": self.intercept,
            "in_the_large": self.in_the_large,
            "intervals": {name: i.to_list() for name, i in self.intervals.items()},
        }


def fit_calibration_line(
    labels: Labels, probabilities: Scores, groups: Groups = None
) -> CalibrationLine | None:
    """Return slope and intercept of calibration, with intervals that know of patients.

    Maximum likelihood; intervals are Wald's with standard errors robust to images of one patient
    (Liang & Zeger 1986). None where it is not defined: one class only, one probability for all, or
    classes that lie apart.
    """
    logits = find_logits(probabilities)
    sick, well = logits[labels == 1], logits[labels == 0]
    if not len(sick) or not len(well) or np.ptp(logits) == 0:
        return None
    if sick.min() >= well.max() or sick.max() <= well.min():
        return None  # the best slope is infinite
    clusters = find_clusters(len(labels), groups)
    ones = np.ones_like(logits)
    both = _fit_logistic(labels, np.stack([ones, logits], axis=1), 0 * ones, clusters)
    large = _fit_logistic(labels, ones[:, None], logits, clusters)
    if both is None or large is None:
        return None
    (intercept, slope), (error_intercept, error_slope) = both
    (in_the_large,), (error_large,) = large
    pairs = {
        "slope": (slope, error_slope),
        "intercept": (intercept, error_intercept),
        "in_the_large": (in_the_large, error_large),
    }
    return CalibrationLine(
        float(slope),
        float(intercept),
        float(in_the_large),
        {k: Interval(float(v - Z * e), float(v + Z * e)) for k, (v, e) in pairs.items()},
    )


def find_logits(probabilities: Scores) -> Scores:
    """Return log-odds, finite also at 0 and 1."""
    inside = np.clip(probabilities, _NEAREST, 1 - _NEAREST)
    logits: Scores = np.log(inside) - np.log1p(-inside)
    return logits


def _fit_logistic(
    labels: Labels, inputs: Scores, offset: Scores, clusters: Clusters, steps: int = 50
) -> tuple[Scores, Scores] | None:
    """Return coefficients and cluster-robust standard errors; None where Newton does not settle.

    `inputs` is float [N, K]; `offset`, float [N], is added with a fixed coefficient of 1.
    """
    n, k = inputs.shape
    weights = np.zeros(k)

    def loss(w: Scores) -> float:
        return measure_loss(inputs @ w + offset, labels)

    for _ in range(steps):
        p = 1 / (1 + np.exp(-(inputs @ weights + offset)))
        curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs
        if np.linalg.cond(curvature) > 1e14:
            return None
        step = np.linalg.solve(curvature, inputs.T @ (labels - p))
        scale = 1.0
        while scale > 1e-8 and loss(weights + scale * step) > loss(weights):
            scale /= 2
        weights = weights + scale * step
        if np.abs(scale * step).max() < 1e-10 * max(1.0, np.abs(weights).max()):
            break
    else:
        return None
    scores = np.zeros((clusters.count, k))
    np.add.at(scores, clusters.member, inputs * (labels - p)[:, None])
    bread = np.linalg.inv(curvature)
    small = clusters.count / (clusters.count - 1) * (n - 1) / (n - k)
    covariance = small * bread @ (scores.T @ scores) @ bread
    return weights, np.sqrt(np.diag(covariance))

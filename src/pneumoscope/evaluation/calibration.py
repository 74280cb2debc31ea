"""Calibration: from a network's logits to probabilities, fitted on held-out images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from pneumoscope.evaluation.arrays import Labels, Scores


class FittedCalibration(NamedTuple):
    """Probability = sigmoid(logit / temperature + bias)."""

    temperature: float
    bias: float


def fit_calibration(labels: Labels, logits: Scores, *, steps: int = 100) -> FittedCalibration:
    """Fit Platt's sigmoid (Platt 1999) by Newton's method.

    Targets are softened as Platt proposes, (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2): where the classes
    lie apart the fit stays finite. The probabilities hold at the share of pneumonias of these
    images. Where higher logits do not mean more pneumonias there is nothing to fit, and the
    sigmoid is left as it is.

    Parameters
    ----------
    labels
        int [N], both classes.
    logits
        float [N].
    """
    scores = np.asarray(logits, np.float64)
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    if spread == 0:
        return FittedCalibration(1.0, 0.0)
    inputs = np.stack([(scores - centre) / spread, np.ones_like(scores)], axis=1)
    weights = np.array([1.0, 0.0])
    loss = measure_loss(inputs @ weights, target)
    for _ in range(steps):
        z = inputs @ weights
        p = 1 / (1 + np.exp(-z))
        gradient = inputs.T @ (p - target)
        curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        scale = 1.0
        while scale > 1e-8 and measure_loss(inputs @ (weights - scale * step), target) > loss:
            scale /= 2
        weights = weights - scale * step
        before, loss = loss, measure_loss(inputs @ weights, target)
        if before - loss < 1e-12 * max(1.0, before):
            break
    slope = float(weights[0]) / spread
    if slope <= 0:
        return FittedCalibration(1.0, 0.0)
    return FittedCalibration(1 / slope, float(weights[1]) - slope * centre)


def fit_temperature(labels: Labels, logits: Scores) -> float:
    """Fit temperature scaling, probability = sigmoid(logit / temperature) (Guo et al. 2017).

    The temperature of least cross-entropy between 0.02 and 50; where the classes lie apart, or
    higher logits do not mean more pneumonias, it is at an end of that range.

    Parameters
    ----------
    labels
        int [N], 0 (NORMAL) or 1 (PNEUMONIA), of images that are not judged afterwards.
    logits
        float [N].
    """
    scores = np.asarray(logits, np.float64)
    span = float(np.log(50))
    found = minimize_scalar(
        lambda power: measure_loss(scores * np.exp(-power), labels),
        bounds=(-span, span),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return float(np.exp(found.x))


def measure_loss(z: Scores, target: Scores | Labels) -> float:
    """Return the cross-entropy of logits and soft targets."""
    return float((np.logaddexp(0, z) - target * z).sum())

"""Updating a calibration for another place, from few labelled images."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.calibration import FittedCalibration

#: Standard deviation of the log of the slope and of the shift of the log-odds before a sample is
#: seen: a place differs from another rather in how many are ill than in what a score is worth.
#: Set beforehand and kept after a simulation (docs/experiments.md).
SLOPE_SPREAD = 0.5
SHIFT_SPREAD = 2.0


def update_calibration(
    labels: Labels,
    logits: Scores,
    previous: FittedCalibration,
    *,
    slope_spread: float = SLOPE_SPREAD,
    shift_spread: float = SHIFT_SPREAD,
) -> FittedCalibration:
    """Return the calibration drawn from the previous one towards a sample, as far as it warrants.

    Logistic recalibration of the old log-odds `z`, `slope * z + shift`, shrunk towards the old
    calibration (Steyerberg et al. 2004, doi:10.1002/sim.1844) by normal priors on `log(slope)` and
    `shift`, at the most probable values. Few images move the shift, many the slope as well; none
    move nothing. The slope stays positive, so that the order of the images never changes.

    Parameters
    ----------
    labels
        int [N], 0 or 1; one class alone is enough.
    logits
        float [N].
    slope_spread, shift_spread
        Standard deviations of the priors.
    """
    old = np.asarray(logits, np.float64) / previous.temperature + previous.bias
    signs = 1.0 - 2.0 * labels

    def measure(values: Scores) -> tuple[float, Scores]:
        """Return the penalised loss and its gradient by log(slope) and shift."""
        steepness, shift = values
        scaled = np.exp(steepness) * old
        wrong = signs * (scaled + shift)
        loss = np.logaddexp(0, wrong).sum()
        slopes = signs * np.exp(-np.logaddexp(0, -wrong))
        loss += (steepness / slope_spread) ** 2 / 2 + (shift / shift_spread) ** 2 / 2
        gradient = [
            (slopes * scaled).sum() + steepness / slope_spread**2,
            slopes.sum() + shift / shift_spread**2,
        ]
        return float(loss), np.array(gradient)

    found = minimize(measure, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-5, 5), (-50, 50)])
    slope, shift = float(np.exp(found.x[0])), float(found.x[1])
    return FittedCalibration(previous.temperature / slope, slope * previous.bias + shift)

"""Thresholds from labelled answers, and how near a faster precision comes to fp32 on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pneumoscope.bundle import Calibration, OperatingPointInfo, PrecisionInfo
from pneumoscope.evaluation import choose_operating_points, compute_auc
from pneumoscope.evidence.points import state_points
from pneumoscope.runtime import Outputs, Predictor, decide_by_band

#: A faster precision is offered only if it stays this near to fp32 on the images compared.
MAX_AUC_CHANGE = 0.002
MAX_DECISIONS_CHANGED = 0.005
_BATCH = 64

Points = Mapping[str, OperatingPointInfo]


def answer_squares(
    predictor: Predictor, squares: NDArray[np.uint8], progress: Callable[[int, int], None]
) -> Outputs:
    """Run the network on resampled images, uint8 [N, size, size]."""
    parts = []
    for start in range(0, len(squares), _BATCH):
        parts.append(predictor.predict_pixels(squares[start : start + _BATCH]))
        progress(min(start + _BATCH, len(squares)), len(squares))
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def choose_points(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    sensitivity: float,
    specificity: float,
) -> dict[str, OperatingPointInfo]:
    """Return the thresholds expected to reach these, as a bundle states them."""
    points = choose_operating_points(
        labels, probabilities, sensitivity=sensitivity, specificity=specificity, trust_labels=False
    )
    return state_points(points)


def compare_precision(
    labels: NDArray[np.int64],
    reference: tuple[NDArray[np.float64], Points],
    compared: tuple[NDArray[np.float64], Points],
    calibration: Calibration,
    graph: str,
) -> PrecisionInfo:
    """Return how near a precision comes to fp32.

    Parameters
    ----------
    reference, compared
        Calibrated probabilities of the same images and the thresholds on them, of fp32 and of the
        precision.
    calibration, graph
        Of the precision.
    """
    (before, old_points), (after, points) = reference, compared
    changed = _decide(before, old_points) != _decide(after, points)
    old, new = compute_auc(labels, before), compute_auc(labels, after)
    auc_change = 0.0 if old is None or new is None else new - old
    share = float(changed.mean())
    return PrecisionInfo(
        graph=graph,
        calibration=calibration,
        operating_points=dict(points),
        images=len(labels),
        auc_change=auc_change,
        decisions_changed=share,
        probability_change=float(np.abs(after - before).max()),
        accepted=abs(auc_change) <= MAX_AUC_CHANGE and share <= MAX_DECISIONS_CHANGED,
    )


def _decide(probabilities: NDArray[np.float64], points: Points) -> NDArray[np.str_]:
    return decide_by_band(probabilities, points["rule_out"].threshold, points["rule_in"].threshold)

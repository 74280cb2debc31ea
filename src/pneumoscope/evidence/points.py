"""Operating points as bundles state them, and as evaluation takes them."""

from __future__ import annotations

from collections.abc import Mapping

from pneumoscope.bundle import OperatingPointInfo
from pneumoscope.evaluation import OperatingPoint


def read_points(points: Mapping[str, OperatingPointInfo]) -> dict[str, OperatingPoint]:
    """Return operating points as evaluation takes them."""
    return {
        name: OperatingPoint(name, p.threshold, p.target, p.sensitivity, p.specificity)
        for name, p in points.items()
    }


def state_points(points: Mapping[str, OperatingPoint]) -> dict[str, OperatingPointInfo]:
    """Return operating points as a bundle states them."""
    return {
        name: OperatingPointInfo(
            threshold=point.threshold,
            target=point.target,
            sensitivity=point.sensitivity,
            specificity=point.specificity,
        )
        for name, point in points.items()
    }

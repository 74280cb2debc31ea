"""The bundle's calibration part as pages and monitoring compare with it; read once a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle
from pneumoscope.runtime import read_inputs


@dataclass(frozen=True, eq=False)
class CalibrationPart:
    """The labelled images that set calibration and thresholds."""

    labels: NDArray[np.int64]
    """[N], 0 (NORMAL) or 1 (PNEUMONIA)."""
    probabilities: NDArray[np.float64]
    """[N], 0..1, calibrated."""
    inputs: dict[str, NDArray[np.float32]]
    """[N] by name of `runtime.INPUTS`; a bundle from before they were kept has none."""


@lru_cache(maxsize=2)
def read_calibration_part(bundle: Bundle) -> CalibrationPart:
    """Return the calibration part of a bundle.

    Its scores are of fp32, and so is their calibration; every other precision has one of its own,
    which brings its probabilities to the same scale.
    """
    arrays = bundle.reference()
    return CalibrationPart(
        arrays["labels"].astype(np.int64),
        bundle.info.calibration.apply(arrays["logits"]),
        read_inputs(arrays),
    )

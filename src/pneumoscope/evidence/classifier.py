"""What can be judged: anything that answers grey squares, a bundle or a model of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pneumoscope.bundle import OperatingPointInfo
from pneumoscope.images import PreprocessingSpec


class Answers(Protocol):
    """What one forward pass gives."""

    @property
    def logits(self) -> NDArray[np.floating[Any]]:
        """float32 or float64 [N], of pneumonia."""


class Classifier(Protocol):
    """A model with its calibration and thresholds; `runtime.Predictor` is one."""

    @property
    def preprocessing(self) -> PreprocessingSpec:
        """How an image becomes the square that `predict_pixels` takes."""

    @property
    def operating_points(self) -> Mapping[str, OperatingPointInfo]:
        """By name; `balanced` decides alone."""

    def predict_pixels(self, squares: NDArray[np.uint8]) -> Answers:
        """Answer resampled images, uint8 [N, *preprocessing.shape], whatever they show."""

    def calibrate(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Return calibrated probabilities, 0..1, of logits."""

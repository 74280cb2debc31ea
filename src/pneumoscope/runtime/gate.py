"""The input gate: is this an image that the model may answer at all?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pneumoscope.images import Radiograph


class InputGate:
    """Tells usable frontal chest radiographs from everything else."""

    @classmethod
    def from_reference(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the gate whose statistics lie in the arrays of a bundle's `reference.npz`."""
        del arrays
        return cls()

    def check(
        self, radiograph: Radiograph, square: NDArray[np.uint8], features: NDArray[np.float32]
    ) -> str | None:
        """Return why the image is rejected, in a sentence; None where it may be answered.

        Parameters
        ----------
        square
            The radiograph as the network sees it, uint8 [size, size].
        features
            Of the forward pass, float32 [2048].
        """
        del radiograph, square, features
        return None

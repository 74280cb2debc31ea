"""The population check: is this a radiograph of people like those that trained the model?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class PopulationCheck:
    """Recognises radiographs from another population by what the network sees of them."""

    @classmethod
    def from_reference(cls, arrays: Mapping[str, NDArray[Any]]) -> Self | None:
        """Return the check that a bundle's `reference.npz` describes; None where it has none."""
        del arrays
        return None

    def is_outside(self, square: NDArray[np.uint8], features: NDArray[np.float32]) -> bool:
        """Whether the image lies outside the model's population.

        Parameters
        ----------
        square
            The radiograph as the network sees it, uint8 [size, size]; no property of the file.
        features
            Of the forward pass, float32 [2048].
        """
        del square, features
        return False

"""The population check: is this a radiograph of people like those that trained the model?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pneumoscope.runtime.descriptor import describe


class PopulationCheck:
    """Recognises radiographs from another population by what they look like.

    A linear function of the image's descriptor, which tells the training images from examples of
    the other population: it knows that population, and not any that it was never shown.

    Parameters
    ----------
    weight
        float64 [768].
    limit
        The most that passes as the model's own population.
    """

    def __init__(self, weight: NDArray[np.float64], limit: float) -> None:
        self._weight = weight
        self._limit = limit

    @classmethod
    def from_reference(cls, arrays: Mapping[str, NDArray[Any]]) -> Self | None:
        """Return the check that a bundle's `reference.npz` describes; None where it has none."""
        if "population_weight" not in arrays:
            return None
        weight = np.asarray(arrays["population_weight"], np.float64)
        return cls(weight, float(arrays["population_limit"]))

    def is_outside(self, square: NDArray[np.uint8]) -> bool:
        """Whether the image lies outside the model's population.

        Parameters
        ----------
        square
            The radiograph as the network sees it, uint8 [size, size]; no property of the file.
        """
        return bool(describe(square[None])[0] @ self._weight > self._limit)

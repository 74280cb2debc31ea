"""The population check: is this a radiograph of people like those that trained the model?

Two lines: what the image looks like, and the age that a DICOM header states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pneumoscope.images import Radiograph
from pneumoscope.runtime.descriptor import describe


def check_age(radiograph: Radiograph, ages: tuple[float, float] | None) -> str | None:
    """Return why the patient's age speaks against an answer; None where nothing is said.

    Parameters
    ----------
    ages
        Those that the model is for, in years, from the first to below the second; None where nobody
        has stated them.
    """
    if ages is None or radiograph.age is None or ages[0] <= radiograph.age < ages[1]:
        return None
    return (
        f"the DICOM header says that the patient is {_write_age(radiograph.age)} old, and the "
        f"model is for people from {ages[0]:g} to under {ages[1]:g} years"
    )


def _write_age(years: float) -> str:
    """Return an age as people say it: in months below two years."""
    whole, unit = (int(years), "years") if years >= 2 else (int(round(12 * years, 6)), "months")
    return f"{whole} {unit}"


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

"""From the numbers of a model's output to logits of pneumonia; what they cannot be is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.errors import ModelError
from pneumoscope.evidence.foreign.description import Meaning, OutputDescription

#: The smallest number above 0 that float32 has: a probability of 0 or 1 becomes a finite logit.
_TINY = float(np.finfo(np.float32).smallest_subnormal)
#: Rounding may lead this far out of 0..1, and class probabilities this far from a sum of 1.
_SLACK = 1e-4
_SUM_SLACK = 0.01

Numbers = NDArray[np.float64]


def check_count(output: OutputDescription, count: int, where: str) -> None:
    """Raise `ModelError` unless an output of so many numbers an image can be what was said."""
    classes = output.meaning in {Meaning.CLASS_LOGITS, Meaning.CLASS_PROBABILITIES}
    if max(output.places) >= count:
        raise ModelError(
            f"output.index is {max(output.places)}, but {where} has {count} "
            f"{'number' if count == 1 else 'numbers'} an image: allowed are 0 to {count - 1}."
        )
    if not classes and output.index is None and count > 1:
        raise ModelError(
            f"{where} has {count} numbers an image: say with output.index which is pneumonia's; "
            "where they are one a class, output.meaning is class_logits or class_probabilities."
        )
    if classes and len(output.places) >= count:
        raise ModelError(
            f"{where} has {count} {'number' if count == 1 else 'numbers'} an image, which leaves "
            f"none for NORMAL: {output.meaning} needs more classes than output.index names."
        )


def convert_to_logits(numbers: NDArray[Any], output: OutputDescription, where: str) -> Numbers:
    """Return the logits of pneumonia, float64 [N], of an output, [N, count].

    Raises
    ------
    ModelError
        Numbers are not finite, no probabilities, or do not sum to 1 where they should.
    """
    values = np.asarray(numbers, np.float64)
    places = list(output.places)
    classes = output.meaning in {Meaning.CLASS_LOGITS, Meaning.CLASS_PROBABILITIES}
    if not np.isfinite(values if classes else values[:, places]).all():
        raise ModelError(f"{where} gives numbers that are not finite (NaN or infinite).")
    match output.meaning:
        case Meaning.LOGIT:
            return values[:, places[0]]
        case Meaning.LOGIT_OF_NORMAL:
            return -values[:, places[0]]
        case Meaning.PROBABILITY:
            p = _check_probabilities(values[:, places[0]], output, where)
            return _log(p) - _log(1 - p)
        case Meaning.PROBABILITY_OF_NORMAL:
            p = _check_probabilities(values[:, places[0]], output, where)
            return _log(1 - p) - _log(p)
        case Meaning.CLASS_LOGITS:
            ill, well = _divide(values, places)
            return np.asarray(np.logaddexp.reduce(ill, 1) - np.logaddexp.reduce(well, 1))
        case Meaning.CLASS_PROBABILITIES:
            ill, well = _divide(_check_probabilities(values, output, where), places)
            total = ill.sum(1) + well.sum(1)
            worst = float(total[np.abs(total - 1).argmax()])
            if abs(worst - 1) > _SUM_SLACK:
                raise ModelError(
                    f"{where} gives numbers with sum {worst:.3g}, class_probabilities sum to 1: "
                    "class_logits (no softmax yet), or probability with output.index (findings "
                    "that do not exclude each other) may be meant."
                )
            return _log(ill.sum(1)) - _log(well.sum(1))


def _divide(values: Numbers, places: list[int]) -> tuple[Numbers, Numbers]:
    """Return the columns of the classes that are pneumonias, and the others."""
    return values[:, places], np.delete(values, places, axis=1)


def _check_probabilities(values: Numbers, output: OutputDescription, where: str) -> Numbers:
    low, high = float(values.min()), float(values.max())
    if low < -_SLACK or high > 1 + _SLACK:
        instead = "class_logits" if output.meaning is Meaning.CLASS_PROBABILITIES else "logit"
        raise ModelError(
            f"{where} gives numbers from {low:.4g} to {high:.4g}, {output.meaning} takes 0 to 1: "
            f"is it {instead}?"
        )
    return np.clip(values, 0.0, 1.0)


def _log(values: Numbers) -> Numbers:
    return np.asarray(np.log(np.maximum(values, _TINY)))

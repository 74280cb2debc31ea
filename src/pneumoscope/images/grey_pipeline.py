"""From stored values to what a screen shows, as DICOM defines it (PS3.4 N.2).

Rescale or modality LUT, then VOI LUT or window, then the presentation's polarity (MONOCHROME1 is
inverted). What means nothing is a `ValueError`.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pneumoscope.images.grey_values import GreyValues

#: Steps of values that a window has at least.
_CLOSED = 1e-6


def render(stored: NDArray[np.generic], dataset: Dataset) -> NDArray[np.float64]:
    """Return each stored value's share of white, 0..1; bright is dense.

    Where neither a VOI LUT nor a window is given, the used range of values is stretched.
    """
    share = _apply_voi(_apply_modality(stored, dataset), stored, dataset)
    return 1 - share if _is_inverse(dataset) else share


def measure(stored: NDArray[np.generic], dataset: Dataset) -> GreyValues | None:
    """Return all values with the window that a file states, which stays the viewer's to change.

    None where the file wants another curve than a straight line.
    """
    if dataset.get("VOILUTSequence"):
        return None
    slope, intercept = 1.0, 0.0
    if dataset.get("ModalityLUTSequence"):
        whole = np.rint(_apply_modality(stored, dataset)).astype(np.int64)
    else:
        whole = stored.astype(np.int64)
        slope, intercept = _find_rescale(dataset)
    lowest, highest = int(whole.min()), int(whole.max())
    if (window := _find_window(dataset)) is None:
        image = _leave_out_padding(whole, stored, dataset)
        ends = [slope * int(end) + intercept for end in (image.min(), image.max())]
    elif window.function == "SIGMOID":
        return None
    else:
        # A step between two values is a window that is all but closed.
        dark = window.centre - window.width / 2
        ends = [dark, dark + max(window.width, _CLOSED * abs(slope))]
    # Values start at 0, and rise with what is bright, whichever way the file counts.
    if (slope > 0) != _is_inverse(dataset):
        values, intercept = whole - lowest, intercept + slope * lowest
    else:
        values, intercept, slope = highest - whole, intercept + slope * highest, -slope
    low, high = sorted((end - intercept) / slope for end in ends)
    stated = min(int(dataset.get("BitsStored") or 8), 16)
    bits = max(8, stated, (highest - lowest).bit_length())
    return GreyValues(
        np.ascontiguousarray(values.astype(np.uint8 if bits == 8 else np.uint16)),
        bits,
        window=(low, high if high > low else low + 1),  # an image of one value has one end only
        is_exact=window is not None and dataset.get("VOILUTFunction") == "LINEAR_EXACT",
        slope=slope,
        intercept=intercept,
    )


def _apply_modality(stored: NDArray[np.generic], dataset: Dataset) -> NDArray[np.float64]:
    """From stored values to the detector's own (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        table, first, _ = _open_table(dataset.ModalityLUTSequence[0], dataset)
        return table[_index(stored, first, len(table))]
    slope, intercept = _find_rescale(dataset)
    return stored.astype(np.float64) * slope + intercept


def _find_rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = (
        float(default if dataset.get(keyword) is None else dataset.get(keyword))
        for keyword, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    if not math.isfinite(slope) or not math.isfinite(intercept) or slope == 0:
        raise ValueError(f"its values are to be rescaled by {slope:g} and {intercept:g}")
    return slope, intercept


def _leave_out_padding(
    values: NDArray[Any], stored: NDArray[np.generic], dataset: Dataset
) -> NDArray[Any]:
    """Return the values of the image: what only fills the frame has no part in their range.

    A stored value that stands for padding, or a range of them (PS3.3 C.7.5.1.1.2). Where nothing
    else is there, all is image.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return values
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    whole = stored.astype(np.int64)
    image = (whole < low) | (whole > high)
    return values[image] if image.any() else values


def _apply_voi(
    values: NDArray[np.float64], stored: NDArray[np.generic], dataset: Dataset
) -> NDArray[np.float64]:
    """Return each value's share of white, 0..1: by look-up table, else window, else image range."""
    if dataset.get("VOILUTSequence"):
        table, first, white = _open_table(dataset.VOILUTSequence[0], dataset)
        return table[_index(values, first, len(table))] / white
    if (window := _find_window(dataset)) is not None:
        return window.apply(values)
    image = _leave_out_padding(values, stored, dataset)
    low, high = float(image.min()), float(image.max())
    return np.clip((values - low) / (high - low if high > low else 1.0), 0, 1)


class _Window(NamedTuple):
    """A window in values of the detector; `function` is LINEAR_EXACT or SIGMOID."""

    centre: float
    width: float
    function: str

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each value's share of white, 0..1."""
        centre, width, function = self
        if function == "SIGMOID":
            # Beyond ±700 the answer is 0 or 1 to the last digit, and exp overflows.
            return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
        if width == 0:
            return (values > centre).astype(np.float64)
        return np.clip((values - centre) / width + 0.5, 0, 1)


def _find_window(dataset: Dataset) -> _Window | None:
    """Return the window that a file states, as PS3.3 C.11.2.1.2 and C.11.2.1.3 define it."""
    centre, width = (_first(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width == 0:  # 0 is how some writers state none
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    narrowest = 1.0 if function == "LINEAR" else sys.float_info.min
    if not math.isfinite(centre) or not math.isfinite(width) or width < narrowest:
        raise ValueError(f"its window of centre {centre:g} and width {width:g} means nothing")
    if function == "LINEAR":  # the exact one, half a step and one step off
        return _Window(centre - 0.5, width - 1, "LINEAR_EXACT")
    if function not in {"LINEAR_EXACT", "SIGMOID"}:
        raise ValueError(f"its window function {function[:40]!r} is unknown")
    return _Window(centre, width, function)


def _is_inverse(dataset: Dataset) -> bool:
    return (
        str(dataset.PhotometricInterpretation) == "MONOCHROME1"
        or dataset.get("PresentationLUTShape") == "INVERSE"
    )


def _open_table(item: Dataset, dataset: Dataset) -> tuple[NDArray[np.float64], int, int]:
    """Return a look-up table's entries, the first value it maps, and what is white in it."""
    count, first, depth = (int(value) for value in item.LUTDescriptor)
    count = count or 1 << 16  # PS3.3 C.11.1.1.1: 65536 does not fit the field
    entries: Any = item.LUTData
    if isinstance(entries, bytes):
        order = "<" if dataset.original_encoding[1] in {True, None} else ">"
        packed = len(entries) < 2 * count  # 8-bit entries, two a word
        entries = np.frombuffer(entries, "u1" if packed else f"{order}u2")
    table = np.atleast_1d(np.asarray(entries, np.float64))[:count]
    if len(table) < count or not 8 <= depth <= 16 or table.min() < 0 or table.max() >= 1 << 16:
        raise ValueError(f"its look-up table has {len(table)} entries, {count} of {depth} bits due")
    # Some writers state 8 bits and store more.
    return table, first, max((1 << depth) - 1, int(table.max()))


def _index(values: NDArray[np.generic], first: int, count: int) -> NDArray[np.intp]:
    """Return each value's place in a table; what lies outside takes the nearest end."""
    return np.rint(np.clip(values.astype(np.float64) - first, 0, count - 1)).astype(np.intp)


def _first(dataset: Dataset, keyword: str) -> float | None:
    """Return the first of an element's numbers: alternative windows are listed after it."""
    value: Any = dataset.get(keyword)
    if isinstance(value, pydicom.multival.MultiValue | list | tuple):
        value = value[0] if len(value) else None
    return None if value is None or value == "" else float(value)

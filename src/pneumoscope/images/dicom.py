"""DICOM radiographs: one frame, through the modality and VOI look-up tables, as bright-is-dense.

The grey pipeline is that of PS3.4 N.2: rescale or modality LUT, then VOI LUT or window, then the
presentation's polarity (MONOCHROME1 is inverted).
"""

from __future__ import annotations

import io
import math
import sys
import warnings
import zlib
from datetime import date, datetime
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumoscope._files import hash_bytes
from pneumoscope.errors import ImageError
from pneumoscope.images.codec import open_pixels
from pneumoscope.images.radiograph import (
    MAX_BYTES,
    MAX_PIXELS,
    Header,
    Pixels,
    Radiograph,
    describe_error,
    grey_from_rgb,
)

#: No radiograph is older than the X-ray.
_FIRST_RADIOGRAPH = date(1895, 11, 8)


def decode_dicom(data: bytes, label: str) -> Radiograph:
    """Decode the bytes of a DICOM file; `label` names it in errors.

    The windowed image fills `bits` = 8 for 8-bit storage, 16 otherwise. Where neither a VOI LUT nor
    a window is given, the used range of values is stretched to the full range.

    Raises
    ------
    ImageError
        Damaged, several frames, no pixels, or a compression that cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of every odd value it tolerates
            _check_inflation(data, label)
            dataset = pydicom.dcmread(io.BytesIO(data))
            _check_header(dataset, label)
            pixels, bits, spread = _render(dataset, label)
            return Radiograph(
                pixels=pixels,
                bits=bits,
                original_size=(int(dataset.Columns), int(dataset.Rows)),
                channel_spread=spread,
                photometric_interpretation=str(dataset.PhotometricInterpretation),
                sha256=hash_bytes(data),
                patient_id=_text(dataset, "PatientID"),
                taken_on=_find_date(dataset),
                modality=_text(dataset, "Modality"),
                view=_text(dataset, "ViewPosition"),
                source=label,
            )
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            f"{label} is a DICOM file that cannot be decoded: {describe_error(error)}."
        ) from error


def read_dicom_header(data: bytes) -> Header:
    """Return what the bytes of a DICOM file say of patient and day; no pixel is decoded.

    Raises
    ------
    ImageError
        They are damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_inflation(data, "The image")
            dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
            return Header(_text(dataset, "PatientID"), _find_date(dataset))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"The header cannot be read: {describe_error(error)}.") from error


def _find_date(dataset: Dataset) -> date | None:
    """Return the day of the acquisition, or else of the study; None where neither can be it."""
    for keyword in ("AcquisitionDate", "StudyDate"):
        try:
            day = datetime.strptime(_text(dataset, keyword) or "", "%Y%m%d").date()  # PS3.5 6.2
        except ValueError:
            continue
        if _FIRST_RADIOGRAPH <= day <= date.today():
            return day
    return None


def _check_inflation(data: bytes, label: str) -> None:
    """Refuse a deflated data set that unfolds into more than any file may have."""
    stream = io.BytesIO(data)
    stream.seek(132)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    unfolded = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), MAX_BYTES + 1)
    if len(unfolded) > MAX_BYTES:
        raise ImageError(f"{label} unfolds into more than {MAX_BYTES >> 20} MiB, the most allowed.")


def _check_header(dataset: Dataset, label: str) -> None:
    """Refuse what cannot be one radiograph before any pixel is allocated."""
    needed = ("Rows", "Columns", "PhotometricInterpretation", "PixelData")
    if any(dataset.get(keyword) is None for keyword in needed):
        raise ImageError(f"{label} is a DICOM file without an image ({_name_kind(dataset)}).")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if rows * columns < 1 or rows * columns > MAX_PIXELS:
        raise ImageError(f"{label} claims {columns}×{rows} pixels, 1 to {MAX_PIXELS} are read.")
    if frames != 1:
        raise ImageError(f"{label} holds {frames} frames, one radiograph is needed.")
    if int(dataset.get("BitsAllocated") or 0) not in {8, 16}:
        raise ImageError(
            f"{label} has {dataset.get('BitsAllocated')} bits a pixel, 8 or 16 are read."
        )


def _render(dataset: Dataset, label: str) -> tuple[Pixels, int, float]:
    photometric = str(dataset.PhotometricInterpretation)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples == 1 and photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise ImageError(f"{label} is {photometric}: MONOCHROME1, MONOCHROME2 and RGB are read.")
    if samples not in {1, 3}:
        raise ImageError(f"{label} has {samples} samples a pixel, 1 or 3 are read.")
    stored = open_pixels(dataset)
    if stored.ndim != (2 if samples == 1 else 3):
        # pydicom hands over every frame that the pixel data has room for.
        raise ImageError(f"{label} holds more frames than its header says, one is needed.")
    if samples == 3:
        if stored.dtype != np.uint8:
            raise ImageError(f"{label} has colour at more than 8 bits, which is not read.")
        grey, spread = grey_from_rgb(stored)
        return grey, 8, spread
    bits = 8 if int(dataset.BitsAllocated) == 8 else 16
    share = _apply_voi(_apply_modality(stored, dataset), dataset)
    if photometric == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        share = 1 - share
    pixels = np.rint(share * ((1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    return np.ascontiguousarray(pixels), bits, 0.0


def _apply_modality(stored: NDArray[np.generic], dataset: Dataset) -> NDArray[np.float64]:
    """From stored values to the detector's own (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        table, first, _ = _open_table(dataset.ModalityLUTSequence[0], dataset)
        return table[_index(stored, first, len(table))]
    slope, intercept = (
        float(default if dataset.get(keyword) is None else dataset.get(keyword))
        for keyword, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    if not math.isfinite(slope) or not math.isfinite(intercept) or slope == 0:
        raise ValueError(f"its values are to be rescaled by {slope:g} and {intercept:g}")
    return stored.astype(np.float64) * slope + intercept


def _apply_voi(values: NDArray[np.float64], dataset: Dataset) -> NDArray[np.float64]:
    """Return each value's share of white, 0..1: by look-up table, else window, else range."""
    if dataset.get("VOILUTSequence"):
        table, first, white = _open_table(dataset.VOILUTSequence[0], dataset)
        return table[_index(values, first, len(table))] / white
    centre, width = (_first(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None:
        return _apply_window(values, centre, width, str(dataset.get("VOILUTFunction") or "LINEAR"))
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low if high > low else 1.0)


def _apply_window(
    values: NDArray[np.float64], centre: float, width: float, function: str
) -> NDArray[np.float64]:
    """Return each value's share of white, 0..1, as PS3.3 C.11.2.1.2 and C.11.2.1.3 define it."""
    narrowest = 1.0 if function == "LINEAR" else sys.float_info.min
    if not math.isfinite(centre) or not math.isfinite(width) or width < narrowest:
        raise ValueError(f"its window of centre {centre:g} and width {width:g} means nothing")
    if function == "SIGMOID":
        # Beyond ±700 the answer is 0 or 1 to the last digit, and exp overflows.
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function not in {"LINEAR", "LINEAR_EXACT"}:
        raise ValueError(f"its window function {function[:40]!r} is unknown")
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)


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


def _text(dataset: Dataset, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "").strip() or None


def _name_kind(dataset: Dataset) -> str:
    kind = getattr(dataset.get("SOPClassUID"), "name", "")
    return kind or "no SOP class"

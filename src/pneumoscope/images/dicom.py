"""DICOM radiographs: what one frame shows, what its detector measured, and what its header says."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumoscope._files import hash_bytes
from pneumoscope.errors import ImageError
from pneumoscope.images.codec import open_pixels
from pneumoscope.images.grey_pipeline import measure, render
from pneumoscope.images.grey_values import GreyValues, show_all
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
#: Where the day of a radiograph stands, the more exact first.
_DAYS = ("AcquisitionDate", "StudyDate")
#: PS3.5 6.2, value representation AS (some leave the zeros out); how many of its units make a year.
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_A_YEAR = {"D": 365.2425, "W": 365.2425 / 7, "M": 12, "Y": 1}
#: In years; nobody reached it yet.
_OLDEST = 125


def decode_dicom(data: bytes, label: str) -> Radiograph:
    """Decode the bytes of a DICOM file; `label` names it in errors.

    The windowed image fills `bits` = 8 for 8-bit storage, 16 otherwise. Where neither a VOI LUT nor
    a window is given, the range of values that the image uses is stretched to the full range.

    Raises
    ------
    ImageError
        Damaged, several frames, no pixels, or a compression that cannot be decoded.
    """
    with _open(data, label) as dataset:
        pixels, bits, spread = _show(_load_stored(dataset, label), dataset)
        return Radiograph(
            pixels=pixels,
            bits=bits,
            original_size=(int(dataset.Columns), int(dataset.Rows)),
            channel_spread=spread,
            photometric_interpretation=str(dataset.PhotometricInterpretation),
            sha256=hash_bytes(data),
            patient_id=_text(dataset, "PatientID"),
            taken_on=_find_date(dataset),
            age=_find_age(dataset),
            modality=_text(dataset, "Modality"),
            view=_text(dataset, "ViewPosition"),
            source=label,
        )


def decode_grey_values(data: bytes, label: str) -> GreyValues:
    """Decode the bytes of a DICOM file for a viewer: all values, and the window beside them.

    Where the file wants another curve than a window's straight line (a VOI LUT, a sigmoid), or is
    in colour, the values are those of `decode_dicom`, to which the curve was applied.

    Raises
    ------
    ImageError
        As of `decode_dicom`.
    """
    with _open(data, label) as dataset:
        stored = _load_stored(dataset, label)
        measured = measure(stored, dataset) if stored.ndim == 2 else None
        if measured is not None:
            return measured
        pixels, bits, _ = _show(stored, dataset)
        return show_all(pixels, bits)


def read_dicom_header(data: bytes) -> Header:
    """Return what the bytes of a DICOM file say of patient and day; no pixel is decoded.

    Raises
    ------
    ImageError
        They are damaged.
    """
    with _open(data, "The image", header_only=True) as dataset:
        return Header(_text(dataset, "PatientID"), _find_date(dataset))


@contextmanager
def _open(data: bytes, label: str, *, header_only: bool = False) -> Iterator[Dataset]:
    """Hand out a file's data set; whatever fails inside is an error of that file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of every odd value it tolerates
            _check_inflation(data, label)
            dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=header_only)
            if not header_only:
                _check_header(dataset, label)
            yield dataset
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            f"{label} is a DICOM file that cannot be decoded: {describe_error(error)}."
        ) from error


def _find_date(dataset: Dataset) -> date | None:
    """Return the day of the acquisition, or else of the study; None where neither can be it."""
    for keyword in _DAYS:
        day = _read_date(dataset, keyword)
        if day is not None and _FIRST_RADIOGRAPH <= day <= date.today():
            return day
    return None


def _find_age(dataset: Dataset) -> float | None:
    """Return the patient's age in years: as stated, or else from birth to this radiograph."""
    stated = _AGE.fullmatch((_text(dataset, "PatientAge") or "").upper())
    if stated and stated[0] not in {"000Y", "999Y"}:  # what stands for nothing
        return int(stated[1]) / _A_YEAR[stated[2]]
    born = _read_date(dataset, "PatientBirthDate")
    # Who moves dates to hide them moves both, also into the future: what lies between stays true.
    for keyword in _DAYS:
        day = _read_date(dataset, keyword)
        if born is None or day is None:
            continue
        months = 12 * (day.year - born.year) + day.month - born.month - (day.day < born.day)
        if 0 <= months <= 12 * _OLDEST:  # others are stand-ins for a date
            return months / 12
    return None


def _read_date(dataset: Dataset, keyword: str) -> date | None:
    try:
        return datetime.strptime(_text(dataset, keyword) or "", "%Y%m%d").date()  # PS3.5 6.2
    except ValueError:
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


def _load_stored(dataset: Dataset, label: str) -> NDArray[np.generic]:
    """Return the stored values, [H, W] or [H, W, 3]."""
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
    if samples == 3 and stored.dtype != np.uint8:
        raise ImageError(f"{label} has colour at more than 8 bits, which is not read.")
    return stored


def _show(stored: NDArray[np.generic], dataset: Dataset) -> tuple[Pixels, int, float]:
    """Return pixels as a screen would show them, their bits, and their channel spread."""
    if stored.ndim == 3:
        grey, spread = grey_from_rgb(stored)
        return grey, 8, spread
    bits = 8 if int(dataset.BitsAllocated) == 8 else 16
    share = render(stored, dataset)
    pixels = np.rint(share * ((1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    return np.ascontiguousarray(pixels), bits, 0.0


def _text(dataset: Dataset, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "").strip() or None


def _name_kind(dataset: Dataset) -> str:
    kind = getattr(dataset.get("SOPClassUID"), "name", "")
    return kind or "no SOP class"

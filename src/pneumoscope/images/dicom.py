"""DICOM radiographs: one frame, through the modality and VOI look-up tables, as bright-is-dense.

The grey pipeline is that of PS3.4 N.2: rescale or modality LUT, then VOI LUT or window, then the
presentation's polarity (MONOCHROME1 is inverted).
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from pneumoscope._files import hash_bytes
from pneumoscope.errors import ImageError
from pneumoscope.images.radiograph import MAX_PIXELS, Radiograph, grey_from_rgb


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
                view=_text(dataset, "ViewPosition"),
                source=label,
            )
    except ImageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{label} is a DICOM file that cannot be decoded: {reason}") from error


def _check_header(dataset: Dataset, label: str) -> None:
    """Refuse what cannot be one radiograph before any pixel is allocated."""
    missing = [k for k in ("Rows", "Columns", "PhotometricInterpretation") if k not in dataset]
    if missing or "PixelData" not in dataset:
        raise ImageError(f"{label} is a DICOM file without an image ({_name_kind(dataset)}).")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if rows * columns < 1 or rows * columns > MAX_PIXELS:
        raise ImageError(f"{label} claims {columns}×{rows} pixels, up to {MAX_PIXELS} are read.")
    if frames != 1:
        raise ImageError(f"{label} holds {frames} frames, one radiograph is needed.")
    if int(dataset.get("BitsAllocated") or 0) not in {8, 16}:
        raise ImageError(
            f"{label} has {dataset.get('BitsAllocated')} bits a pixel, 8 or 16 are read."
        )


def _render(
    dataset: Dataset, label: str
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], int, float]:
    photometric = str(dataset.PhotometricInterpretation)
    raw = dataset.pixel_array
    if int(dataset.get("SamplesPerPixel") or 1) == 3:
        if raw.dtype != np.uint8:
            raise ImageError(f"{label} has colour at more than 8 bits, which is not read.")
        grey, spread = grey_from_rgb(raw)
        return grey, 8, spread
    if photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise ImageError(f"{label} is {photometric}: MONOCHROME1, MONOCHROME2 and RGB are read.")
    bits = 8 if int(dataset.BitsAllocated) == 8 else 16
    values = apply_modality_lut(raw, dataset)
    low, high = _find_range(values, dataset)
    if "VOILUTSequence" in dataset or "WindowCenter" in dataset:
        values = apply_voi_lut(values, dataset, prefer_lut=True)
    share = (values.astype(np.float64) - low) / max(high - low, 1e-9)
    scaled = np.clip(share, 0, 1) * ((1 << bits) - 1)
    pixels = np.rint(scaled).astype(np.uint8 if bits == 8 else np.uint16)
    inverse = str(dataset.get("PresentationLUTShape") or "") == "INVERSE"
    if photometric == "MONOCHROME1" or inverse:
        pixels = np.invert(pixels)
    return np.ascontiguousarray(pixels), bits, 0.0


def _find_range(values: NDArray[np.generic], dataset: Dataset) -> tuple[float, float]:
    """Return the output range of the VOI step: what becomes black and what becomes white."""
    if "VOILUTSequence" in dataset and dataset.VOILUTSequence:
        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return 0.0, float((1 << depth) - 1)
    if "WindowCenter" in dataset and dataset.get("WindowWidth") is not None:
        # pydicom windows into the range of the stored or rescaled values (PS3.3 C.11.2.1.2).
        stored = int(dataset.get("BitsStored") or dataset.BitsAllocated)
        signed = int(dataset.get("PixelRepresentation") or 0) == 1
        low, high = (
            (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
        )
        if "ModalityLUTSequence" in dataset:
            depth = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
            return 0.0, float((1 << depth) - 1)
        slope = float(dataset.get("RescaleSlope", 1) or 1)
        intercept = float(dataset.get("RescaleIntercept", 0) or 0)
        return low * slope + intercept, high * slope + intercept
    return float(values.min()), float(values.max())


def _text(dataset: Dataset, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "").strip() or None


def _name_kind(dataset: Dataset) -> str:
    kind = getattr(dataset.get("SOPClassUID"), "name", "")
    return kind or "no SOP class"

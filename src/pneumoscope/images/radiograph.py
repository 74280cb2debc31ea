"""The checked radiograph that every other room works on, and what counts as one."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pneumoscope._files import hash_bytes
from pneumoscope.errors import ImageError

#: File names that are taken for images when a folder is walked.
IMAGE_SUFFIXES = frozenset(
    {".jpeg", ".jpg", ".jpe", ".png", ".tif", ".tiff", ".dcm", ".dicom", ".bmp", ".webp"}
)
#: No radiograph detector comes near this; what claims more is damaged or an attack.
MAX_PIXELS = 100_000_000
#: A file larger than this is not read into memory.
MAX_BYTES = 512 * 2**20

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class Header(NamedTuple):
    """What a file says of itself, where it is DICOM."""

    patient_id: str | None
    taken_on: date | None


NO_HEADER = Header(None, None)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One X-ray image as grey pixels, with what later checks and the record need."""

    pixels: Pixels
    """uint8 or uint16 [H, W], bright is dense (MONOCHROME2), full range of `bits`."""
    bits: int
    """Significant bits, 8 to 16: pixels lie in 0 .. 2**bits - 1."""
    original_size: tuple[int, int]
    """Width and height in pixels once upright, before any scaled decoding."""
    channel_spread: float
    """Mean over pixels of the largest minus the smallest colour channel, 0..255; 0 if grey."""
    photometric_interpretation: str
    """As stored: MONOCHROME1, MONOCHROME2, RGB, …; `pixels` are bright-is-dense whatever it is."""
    sha256: str
    """Of the file's bytes, or of the array's."""
    patient_id: str | None = None
    taken_on: date | None = None
    """As a DICOM header states it: of the acquisition, or else of the study."""
    age: float | None = None
    """The patient's in years, as a DICOM header states it or as it follows from its dates."""
    modality: str | None = None
    """As a DICOM header states it, such as DX or CT; None of other files."""
    view: str | None = None
    """DICOM ViewPosition, such as PA or LL; None where nothing states it."""
    source: str = ""

    def to_grey(self) -> NDArray[np.uint8]:
        """Return the pixels as uint8 [H, W], the full range of `bits` over 0..255, to be shown."""
        return (self.pixels / ((1 << self.bits) - 1) * 255).astype(np.uint8)


def reduce_to_square(radiograph: Radiograph, square: NDArray[np.uint8]) -> Radiograph:
    """Return a radiograph's facts with the few pixels that the network sees, uint8 [S, S].

    Enough for every check of an answer, and small enough to go from one process to another.
    """
    return replace(radiograph, pixels=square, bits=8)


def from_array(
    array: NDArray[np.generic],
    photometric_interpretation: str,
    *,
    bits: int | None = None,
    name: str = "array",
) -> Radiograph:
    """Wrap decoded pixels; what they mean must be said, it is not guessed.

    Parameters
    ----------
    array
        uint8 or uint16 [H, W] for MONOCHROME1 and MONOCHROME2, uint8 [H, W, 3] for RGB.
    photometric_interpretation
        MONOCHROME1 (bright means air), MONOCHROME2 (bright means dense) or RGB.
    bits
        Significant bits; by default all of the type's.

    Raises
    ------
    ImageError
        Any other type, shape or interpretation.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in (np.uint8, np.uint16):
        found = getattr(array, "dtype", type(array).__name__)
        raise ImageError(f"{name}: pixels must be a uint8 or uint16 array, found {found}.")
    expected = 3 if photometric_interpretation == "RGB" else 2
    if photometric_interpretation not in ("MONOCHROME1", "MONOCHROME2", "RGB"):
        raise ImageError(
            f"{name}: the photometric interpretation must be MONOCHROME1, MONOCHROME2 or RGB, "
            f"found {photometric_interpretation!r}."
        )
    if (
        array.ndim != expected
        or min(array.shape[:2]) < 1
        or (expected == 3 and array.shape[2] != 3)
    ):
        raise ImageError(
            f"{name}: {photometric_interpretation} takes shape "
            f"{'[H, W, 3]' if expected == 3 else '[H, W]'}, found {list(array.shape)}."
        )
    if expected == 3 and array.dtype != np.uint8:
        raise ImageError(f"{name}: RGB takes uint8, found {array.dtype}.")
    bits = bits or array.dtype.itemsize * 8
    if not 8 <= bits <= array.dtype.itemsize * 8 or int(array.max()) >= 1 << bits:
        raise ImageError(f"{name}: pixels up to {array.max()} do not fit {bits} bits.")
    pixels, spread = (array, 0.0) if expected == 2 else grey_from_rgb(array)
    if photometric_interpretation == "MONOCHROME1":
        pixels = ((1 << bits) - 1 - pixels).astype(array.dtype)
    contiguous = np.ascontiguousarray(array)
    return Radiograph(
        pixels=np.ascontiguousarray(pixels),
        bits=bits,
        original_size=(array.shape[1], array.shape[0]),
        channel_spread=spread,
        photometric_interpretation=photometric_interpretation,
        sha256=hash_bytes(
            repr((contiguous.shape, contiguous.dtype.str)).encode() + contiguous.tobytes()
        ),
        source=name,
    )


def is_image_file(path: Path) -> bool:
    """Whether a file is taken for an image when a folder is walked.

    By its name; or, since archives often give DICOM files none, by their mark (PS3.10, 7.1).
    """
    if not is_visible(path.name):
        return False
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            return is_dicom(stream.read(132))
    except OSError:
        return False


def is_dicom(data: bytes) -> bool:
    """Whether the bytes carry the DICOM preamble (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def is_visible(name: str | PurePath) -> bool:
    """Whether a path holds no hidden files, macOS resource forks (`._*`) or `__MACOSX`."""
    path = PurePath(name)
    hidden = any(part.startswith(".") and part not in {".", ".."} for part in path.parts)
    return not hidden and "__MACOSX" not in path.parts


def grey_from_rgb(rgb: NDArray[np.generic]) -> tuple[NDArray[np.uint8], float]:
    """Return luma (ITU-R BT.601, as Pillow computes it) and the channel spread of uint8 RGB."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    return luma.astype(np.uint8), float((highest - lowest).mean())


def describe_error(error: BaseException) -> str:
    """Return what a library says went wrong as the end of a sentence of ours, without a stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.split(r"[.!?] (?=[A-Z])", text)[0]
    return (text if len(text) <= 200 else f"{text[:199]}…").rstrip(" .")

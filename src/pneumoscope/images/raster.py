"""JPEG, PNG, TIFF, BMP and WebP through Pillow, with its traps made into typed errors."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pneumoscope._files import hash_bytes
from pneumoscope.errors import ImageError
from pneumoscope.images.radiograph import (
    MAX_PIXELS,
    Pixels,
    Radiograph,
    describe_error,
    grey_from_rgb,
)

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
#: Depths at which detectors deliver.
_DEPTHS = (8, 10, 12, 14, 16)
_TIFF_DEPTH, _TIFF_PHOTOMETRIC = 258, 262


def decode_raster(data: bytes, label: str, target_size: int | None = None) -> Radiograph:
    """Decode the bytes of a raster file; `label` names it in errors.

    Orientation from EXIF is applied, palettes are resolved, transparency is laid over black, and
    colour becomes luma. 16-bit grey keeps its depth; 16-bit colour is read at 8 bits, and float
    images are refused, since their range is not known.
    """
    try:
        # Pillow warns of odd metadata, and of sizes that are our own limit's business.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _decode(image, data, label, target_size)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{label} claims more than {MAX_PIXELS // 10**6} megapixels, the most that are read; a "
            "radiograph has fewer: reduce it, or export it anew."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{label} is not an image: JPEG, PNG, TIFF, BMP, WebP and DICOM are read."
        ) from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        EOFError,
        IndexError,
        KeyError,
        OverflowError,
        MemoryError,
        AttributeError,
        ZeroDivisionError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        zlib.error,
    ) as error:
        # All of these come out of Pillow's parsers when files are damaged.
        raise ImageError(f"{label} is damaged or truncated: {describe_error(error)}.") from error


def _decode(image: Image.Image, data: bytes, label: str, target_size: int | None) -> Radiograph:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{label} has {width}×{height} pixels, more than {MAX_PIXELS // 10**6} million, the "
            "most that are read; a radiograph has fewer: reduce it, or export it anew."
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{label} holds {frames} images, one is needed.")
    if image.format == "JPEG" and target_size:
        # libjpeg scales by eighths while decoding; Pillow picks the smallest not below this.
        image.draft(None, (2 * target_size, 2 * target_size))
    image.load()
    turned = ImageOps.exif_transpose(image)
    if _is_swapped(image):
        width, height = height, width
    pixels, bits, spread = _convert(turned, label)
    if image.mode.startswith("I"):
        bits = _find_depth(image, int(pixels.max()))
    photometric = "RGB"
    if image.mode in {"1", "L", "LA"} or image.mode.startswith("I"):
        photometric = "MONOCHROME1" if _is_white_zero(image) else "MONOCHROME2"
    if photometric == "MONOCHROME1" and image.mode.startswith("I"):
        # Pillow turns white-is-zero over at 8 bits and fewer, but leaves deeper pixels as stored.
        pixels = (((1 << bits) - 1) - pixels).astype(np.uint16)
    return Radiograph(
        pixels=pixels,
        bits=bits,
        original_size=(width, height),
        channel_spread=spread,
        photometric_interpretation=photometric,
        sha256=hash_bytes(data),
        source=label,
    )


def _convert(image: Image.Image, label: str) -> tuple[Pixels, int, float]:
    """Return grey pixels, their bits and the channel spread."""
    mode = image.mode
    if mode == "L":
        return np.array(image), 8, 0.0
    if mode.startswith("I"):
        return _convert_deep(np.array(image), label)
    if mode == "F":
        raise ImageError(f"{label} holds floating-point pixels, whose range is not known.")
    if mode == "1":
        return np.array(image.convert("L")), 8, 0.0
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, rgba)
    grey, spread = grey_from_rgb(np.array(image.convert("RGB")))
    return grey, 8, spread


def _convert_deep(array: NDArray[np.generic], label: str) -> tuple[Pixels, int, float]:
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 0xFFFF:
        raise ImageError(f"{label} has pixels from {low} to {high}, 0 to 65535 are read.")
    return array.astype(np.uint16), 16, 0.0


def _find_depth(image: Image.Image, brightest: int) -> int:
    """Return how many bits of 16 are used: the smallest of the usual depths that holds all pixels.

    A file of 16 bits does not say whether its detector had fewer, and exports of 12-bit radiographs
    that were never scaled up are common: taken at 16 bits, they would be left with 16 of 256 grey
    levels. So the brightest pixel decides, but only between depths that detectors have. Two
    exposures of one detector then agree unless one of them stays below a quarter of full scale,
    and radiographs hold either direct exposure or a burnt-in marker. TIFF can state a depth below
    16, and is then believed.
    """
    stated = _read_tiff_tag(image, _TIFF_DEPTH)
    fitting = [depth for depth in _DEPTHS if brightest < 1 << depth]
    if isinstance(stated, int) and fitting[0] <= stated < 16:
        return stated
    return fitting[0]


def _is_white_zero(image: Image.Image) -> bool:
    return _read_tiff_tag(image, _TIFF_PHOTOMETRIC) == 0


def _read_tiff_tag(image: Image.Image, tag: int) -> object:
    tags = getattr(image, "tag_v2", None)
    value = tags.get(tag) if image.format == "TIFF" and tags is not None else None
    return value[0] if isinstance(value, tuple) and value else value


def _is_swapped(image: Image.Image) -> bool:
    return image.getexif().get(0x0112, 1) in {5, 6, 7, 8}

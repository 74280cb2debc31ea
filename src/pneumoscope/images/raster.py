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
from pneumoscope.images.radiograph import MAX_PIXELS, Pixels, Radiograph, grey_from_rgb

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")


def decode_raster(data: bytes, label: str, target_size: int | None = None) -> Radiograph:
    """Decode the bytes of a raster file; `label` names it in errors.

    Orientation from EXIF is applied, palettes are resolved, transparency is laid over black, and
    colour becomes luma. 16-bit grey keeps its depth; 16-bit colour is read at 8 bits, and float
    images are refused, since their range is not known.
    """
    try:
        # Pillow warns of bombs and of damage through `warnings`; here each is an error.
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _decode(image, data, label, target_size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{label} claims more than {MAX_PIXELS // 10**6} megapixels.") from error
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
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{label} is damaged or truncated: {reason}.") from error


def _decode(image: Image.Image, data: bytes, label: str, target_size: int | None) -> Radiograph:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{label} has {width}×{height} pixels, more than {MAX_PIXELS // 10**6} million."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"{label} holds {image.n_frames} images, one is needed.")
    if image.format == "JPEG" and target_size:
        # libjpeg scales by eighths while decoding; Pillow picks the smallest not below this.
        image.draft(None, (2 * target_size, 2 * target_size))
    image.load()
    turned = ImageOps.exif_transpose(image)
    if _is_swapped(image):
        width, height = height, width
    photometric = "MONOCHROME2" if image.mode in {"1", "L", "LA", "I;16", "I;16B", "I"} else "RGB"
    pixels, bits, spread = _convert(turned, label)
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
    """Return 16-bit grey; the brightest pixel tells how many bits are used (at least 8)."""
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 0xFFFF:
        raise ImageError(f"{label} has pixels from {low} to {high}, 0 to 65535 are read.")
    bits = max(8, high.bit_length())
    return array.astype(np.uint16), bits, 0.0


def _is_swapped(image: Image.Image) -> bool:
    return image.getexif().get(0x0112, 1) in {5, 6, 7, 8}

"""What is shown of an image, made in a decoder's process: thumbnails, raw pixels, overlays."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from pneumoscope.images import read, read_grey_values, spread_over_image
from pneumoscope.runtime.finding import Finding
from pneumoscope.runtime.heatmap import encode_heatmap, paint_influence, scale_map

#: Sides of pictures, in pixels.
THUMBNAIL, OVERLAY = 160, 512
#: What errors call an image whose name they are not told.
_NAME = "The image"


class RawPixels(NamedTuple):
    """A radiograph at full resolution and depth, as a viewer wants it."""

    data: bytes
    """uint8, or little-endian uint16 where `bits` is above 8, row by row; bright is dense."""
    width: int
    height: int
    bits: int
    window: tuple[float, float]
    """The values that are black and white to begin with."""
    is_exact: bool
    """Whether the file says that as LINEAR_EXACT."""
    slope: float
    intercept: float
    """`slope * value + intercept` is a value in the file's own units."""


def draw_thumbnail(data: bytes) -> bytes:
    """Return a small JPEG of an image's bytes."""
    radiograph = read(data, name=_NAME, target_size=THUMBNAIL)
    picture = Image.fromarray(radiograph.to_grey())
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return _encode(picture, "JPEG", quality=80)


def unfold_pixels(data: bytes) -> RawPixels:
    """Return all grey values of an image's bytes, none cut off by a window."""
    grey = read_grey_values(data, name=_NAME)
    height, width = grey.values.shape
    raw = grey.values.astype("<u2" if grey.bits > 8 else np.uint8).tobytes()
    return RawPixels(
        raw, width, height, grey.bits, grey.window, grey.is_exact, grey.slope, grey.intercept
    )


def draw_overlay(finding: Finding, size: tuple[int, int]) -> bytes:
    """Return the influence alone as a PNG with transparency, as wide and high as asked for.

    Parameters
    ----------
    size
        Width and height of the image that it will lie on; the overlay is smaller, alike in shape.
    """
    assert finding.activation_map is not None
    assert finding.probability is not None
    assert finding.threshold is not None
    scale = min(1.0, OVERLAY / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    influence = scale_map(finding.activation_map, finding.probability, finding.threshold)
    wide = spread_over_image(influence, width, height, finding.geometry).clip(0, 1)
    colour = np.rint(paint_influence(wide)).astype(np.uint8)
    alpha = np.rint(wide * 255).astype(np.uint8)[..., None]
    return _encode(Image.fromarray(np.concatenate([colour, alpha], axis=-1)), "PNG")


def draw_heatmap_picture(data: bytes, finding: Finding) -> bytes:
    """Return the overlay on the image with its caption, as a JPEG."""
    return encode_heatmap(read(data, name=finding.path), finding)


def measure_image(data: bytes) -> tuple[int, int]:
    """Return width and height of an image's bytes, in pixels, once upright."""
    return read(data, name=_NAME, target_size=THUMBNAIL).original_size


def _encode(picture: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()

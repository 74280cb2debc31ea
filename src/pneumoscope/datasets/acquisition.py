"""What an image tells of how it was made, without looking at the patient.

Size, compression, brightness, borders, corners: where these tell the classes apart, a network can
learn them instead of the disease.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pneumoscope.datasets.arrays import split_ref
from pneumoscope.images import PreprocessingSpec, Resampler

#: The square on which pixels are measured: area-averaged, so that size and detail do not leak in.
MEASURED = PreprocessingSpec(size=128, resampler=Resampler.AREA)
#: Feature → what it is. The columns of `measure_acquisition`.
FEATURES: Mapping[str, str] = {
    "width": "width in pixels",
    "height": "height in pixels",
    "aspect_ratio": "width divided by height",
    "jpeg_quality": "quality of the JPEG file, 1 to 100, from its quantisation table",
    "bytes_per_pixel": "size of the file divided by its pixels",
    "mean_intensity": "mean of the pixels, 0 to 1",
    "contrast": "standard deviation of the pixels, 0 to 1",
    "border_left": "dark share of the left edge",
    "border_right": "dark share of the right edge",
    "border_top": "dark share of the upper edge",
    "border_bottom": "dark share of the lower edge",
    "corner_top_left": "standard deviation of the upper left corner",
    "corner_top_right": "standard deviation of the upper right corner",
    "corner_bottom_left": "standard deviation of the lower left corner",
    "corner_bottom_right": "standard deviation of the lower right corner",
}
_DARK = 16
_EDGE, _CORNER = 5, 20
#: Annex K of ITU-T T.81, table K.1 (luminance), row by row.
_STANDARD_TABLE = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
     14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
     18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
     49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)  # fmt: skip


def measure_acquisition(
    frame: pl.DataFrame,
    squares: NDArray[np.uint8],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Return the `FEATURES` of every image, float64, in row order; NaN where there is none.

    Rows of an array and DICOM files have no bytes of their own to speak of; only JPEG files have a
    quality.

    Parameters
    ----------
    squares
        The images as `load_pixels` gives them for `MEASURED`, uint8 [N, 128, 128].
    """
    columns: dict[str, list[float]] = {name: [] for name in FEATURES}
    sizes = frame.select("path", "width", "height").iter_rows()
    for done, ((ref, width, height), square) in enumerate(zip(sizes, squares, strict=True), 1):
        length, quality = _measure_file(ref)
        measured = {
            "width": width,
            "height": height,
            "aspect_ratio": width / height,
            "jpeg_quality": quality,
            "bytes_per_pixel": length / (width * height),
            **_measure_square(square),
        }
        for name, values in columns.items():
            values.append(float(measured[name]))
        if progress and (done % 64 == 0 or done == frame.height):
            progress(done, frame.height)
    return pl.DataFrame(columns, schema=dict.fromkeys(FEATURES, pl.Float64))


def _measure_file(ref: str) -> tuple[float, float]:
    """Return the bytes and the JPEG quality of an image's own file, NaN where it has none."""
    file, row = split_ref(ref)
    if row is not None:
        return np.nan, np.nan
    try:
        with Image.open(file) as image:  # reads the head only
            tables = getattr(image, "quantization", None) if image.format == "JPEG" else None
            quality = estimate_quality(np.array(tables[0])) if tables else np.nan
            return float(Path(file).stat().st_size), quality
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return np.nan, np.nan  # DICOM, whose headers and private tags are no part of the picture


def estimate_quality(table: NDArray[np.integer]) -> float:
    """Return the quality, 1 to 100, whose scaled standard table is nearest to a luminance table.

    Exact for files written by libjpeg and its kin; for cameras and devices with tables of their own
    it is the equivalent.
    """
    errors = np.abs(_SCALED_TABLES - table.reshape(-1)).sum(1)
    return float(errors.argmin() + 1)


def _scale_tables() -> NDArray[np.int64]:
    """Return the tables of the qualities 1 to 100, as libjpeg's `jpeg_quality_scaling` makes them.

    int64 [100, 64].
    """
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables: NDArray[np.int64] = np.clip((_STANDARD_TABLE * scale[:, None] + 50) // 100, 1, 255)
    return tables


_SCALED_TABLES = _scale_tables()


def _measure_square(square: NDArray[np.uint8]) -> dict[str, float]:
    values = square.astype(np.float32) / 255
    dark = square < _DARK
    near, far = slice(None, _CORNER), slice(-_CORNER, None)
    return {
        "mean_intensity": values.mean(),
        "contrast": values.std(),
        "border_left": dark[:, :_EDGE].mean(),
        "border_right": dark[:, -_EDGE:].mean(),
        "border_top": dark[:_EDGE].mean(),
        "border_bottom": dark[-_EDGE:].mean(),
        "corner_top_left": values[near, near].std(),
        "corner_top_right": values[near, far].std(),
        "corner_bottom_left": values[far, near].std(),
        "corner_bottom_right": values[far, far].std(),
    }

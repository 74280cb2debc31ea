"""How well an image shows what is there, as far as its pixels tell."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: What `measure_quality` gives, by name.
QUALITY = ("image_contrast", "image_sharpness")
_CHUNK = 256


def add_quality(frame: pl.DataFrame, pixels: NDArray[np.uint8]) -> pl.DataFrame:
    """Add `QUALITY` to the rows of images."""
    columns = measure_quality(pixels)
    return frame.with_columns(pl.Series(name, columns[name].round(6)) for name in QUALITY)


def measure_quality(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Return contrast and sharpness of images as the network sees them.

    Contrast is the standard deviation of the pixels, 0 to 0.5. Sharpness is the variance of the
    Laplacian (Pech-Pacheco et al. 2000; LAPV in Pertuz et al. 2013,
    doi:10.1016/j.patcog.2012.11.011): blur lowers it, and noise raises it.

    Parameters
    ----------
    pixels
        uint8 [N, H, W], H and W at least 3.

    Returns
    -------
    Name → float64 [N], of pixels scaled to 0..1.
    """
    contrast, sharpness = [], []
    for start in range(0, len(pixels), _CHUNK):
        values = pixels[start : start + _CHUNK].astype(np.float32) / 255
        inner = values[:, 1:-1, 1:-1]
        around = values[:, :-2, 1:-1] + values[:, 2:, 1:-1] + values[:, 1:-1, :-2]
        laplacian = around + values[:, 1:-1, 2:] - 4 * inner
        contrast.append(values.std((1, 2), dtype=np.float64))
        sharpness.append(laplacian.var((1, 2), dtype=np.float64))
    return {
        "image_contrast": np.concatenate(contrast or [np.empty(0)]),
        "image_sharpness": np.concatenate(sharpness or [np.empty(0)]),
    }

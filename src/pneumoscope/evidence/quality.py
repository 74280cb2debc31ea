"""How well an image shows what is there, as far as its pixels tell."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.runtime import measure_images

#: The columns that `add_quality` adds.
QUALITY = ("image_contrast", "image_sharpness")


def add_quality(frame: pl.DataFrame, pixels: NDArray[np.uint8]) -> pl.DataFrame:
    """Add `QUALITY` to the rows of images, uint8 [N, size, size] as the network sees them."""
    measured = measure_images(pixels)
    return frame.with_columns(
        pl.Series(name, measured[name.removeprefix("image_")].round(6)) for name in QUALITY
    )

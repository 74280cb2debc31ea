"""Small images in every layout that people bring."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Path]


@pytest.fixture
def paint(rng: np.random.Generator) -> Paint:
    """Return a function that writes an image that is like no other."""

    def write(path: Path, side: int = 24) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)
        return path

    return write


@pytest.fixture
def png(rng: np.random.Generator) -> Callable[[], bytes]:
    """Return a function that gives the bytes of an image that is like no other."""

    def encode() -> bytes:
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(stream, "PNG")
        return stream.getvalue()

    return encode


@pytest.fixture
def kermany(tmp_path: Path, paint: Paint) -> Callable[..., Path]:
    """Return a function that makes class folders with the names of the Kermany collection.

    Every patient has two images; `n` is the number of patients in each of the four series.
    """

    def make(n: int = 6, folder: Path | None = None) -> Path:
        folder = folder or tmp_path / "collection"
        for number in range(1, n + 1):
            for image in (1, 2):
                for series in ("IM", "NORMAL2-IM"):
                    paint(folder / "NORMAL" / f"{series}-{number:04d}-{image:04d}.png")
                for cause in ("bacteria", "virus"):
                    paint(folder / "PNEUMONIA" / f"person{number}_{cause}_{image}.png")
        return folder

    return make

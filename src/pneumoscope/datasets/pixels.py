"""The pixel cache: every image of a manifest as the grey pixels that the network will see."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import polars as pl
from numpy.typing import NDArray

from pneumoscope._files import find_cache_folder, make_room, replace_atomically
from pneumoscope.datasets.arrays import read_radiograph
from pneumoscope.errors import DataError, ImageError
from pneumoscope.images import PreprocessingSpec, resample

#: The cache keeps at most this many bytes; the files used longest ago go first.
CACHE_LIMIT = 10 * 2**30
#: What else decides the pixels: part of the key of all that is computed from them.
PIXEL_METHOD = (1, PIL.__version__)


def load_pixels(
    frame: pl.DataFrame,
    spec: PreprocessingSpec,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """Return the images of a manifest, uint8 [N, *spec.shape], memory-mapped, in row order.

    Raises
    ------
    DataError
        The disk has no room.
    ImageError
        An image that was readable when the manifest was made no longer is, or is another.
    """
    folder = find_cache_folder() / "pixels"
    path = folder / f"{_make_key(frame, spec)}.npy"
    shape = (frame.height, *spec.shape)
    cached = _open_cached(path, shape)
    if cached is not None:
        return cached
    folder.mkdir(parents=True, exist_ok=True)
    needed = int(np.prod(shape))
    make_room(folder, "*.npy", needed, CACHE_LIMIT)
    if shutil.disk_usage(folder).free < needed + 2**28:
        raise DataError(
            f"{folder} has no room for {needed / 1e9:.2f} GB: free some, or set PNEUMOSCOPE_CACHE."
        )
    with replace_atomically(path) as temporary:
        _fill(temporary, frame, spec, shape, progress)
    made = _open_cached(path, shape)
    assert made is not None  # it was written and synced a moment ago
    return made


def _fill(
    path: Path,
    frame: pl.DataFrame,
    spec: PreprocessingSpec,
    shape: tuple[int, int, int],
    progress: Callable[[int, int], None] | None,
) -> None:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def read_one(ref: str, sha256: str) -> NDArray[np.uint8]:
        radiograph = read_radiograph(ref, spec.decoding_size)
        if radiograph.sha256 != sha256:  # its label and its split were given to another image
            raise ImageError(f"{ref} has changed since the run began: start a new run.")
        return resample(radiograph, spec)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, square in enumerate(pool.map(read_one, frame["path"], frame["sha256"])):
            array[row] = square
            if progress:
                progress(row + 1, frame.height)
    array.flush()


def _open_cached(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """Return the cached array, None where there is none or it is not what it should be."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if array.shape != shape or array.dtype != np.uint8:
        return None
    os.utime(path)
    return np.asarray(array)


def _make_key(frame: pl.DataFrame, spec: PreprocessingSpec) -> str:
    # Normalisation comes after the cacheable half.
    facts = (
        spec.model_dump_json(exclude={"normalisation"}), frame["sha256"].to_list(), PIXEL_METHOD,
    )  # fmt: skip
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

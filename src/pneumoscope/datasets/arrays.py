"""MedMNIST's .npz files, and images by reference: a path, or a row of such a file."""

from __future__ import annotations

import functools
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.datasets.archives import check_growth
from pneumoscope.datasets.items import SPLITS, Item, map_labels
from pneumoscope.errors import DataError, ImageError
from pneumoscope.images import Radiograph, from_array, read

_ROW = re.compile(r"[0-9]{1,9}", re.ASCII)
#: What reading a damaged or hostile file raises.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


def list_rows(
    path: Path, positive: str | None, labelled: bool = True
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Return every row of a MedMNIST file as an item `file.npz#train/17`.

    Labels are 0 (NORMAL) and 1 (PNEUMONIA), as in PneumoniaMNIST; `positive` names another value.
    They are needed only where the images are to be `labelled`.
    """
    found: dict[str, list[str]] = {}
    for split in SPLITS:
        labels = _load_array(str(path), f"{split}_labels", _stamp(path), required=False)
        images = _load_array(str(path), f"{split}_images", _stamp(path), required=False)
        if images is not None and not labelled:
            labels = np.zeros(images.shape[:1], np.uint8)  # any: they are not looked at
        if labels is None or images is None:
            continue
        if images.ndim not in {3, 4} or labels.shape[:1] != images.shape[:1]:
            raise DataError(
                f"{path} has {split}_images of shape {images.shape} and {split}_labels of shape "
                f"{labels.shape}: one label an image is needed."
            )
        if labels.size != len(images):
            raise DataError(f"{path} has {split}_labels of shape {labels.shape}: one is needed.")
        found[split] = [str(value) for value in labels.ravel()]
    names = sorted({name for values in found.values() for name in values})
    classes: dict[str, str | None] = dict.fromkeys(names)
    if labelled and names:
        classes |= map_labels(names, positive)
    items = [
        Item(f"{path}#{split}/{row}", classes[name], split, None, "none", path.stem)
        for split, values in found.items()
        for row, name in enumerate(values)
    ]
    if not items:
        raise DataError(f"{path} has no train_images and train_labels, as MedMNIST files do.")
    images = _load_array(str(path), f"{items[0].split}_images", _stamp(path))
    assert images is not None
    return tuple(items), (f"The arrays hold images of {images.shape[2]}×{images.shape[1]} pixels.",)


def split_ref(ref: str) -> tuple[str, str | None]:
    """Return the file of a reference, and the row within it where there is one."""
    file, mark, row = ref.rpartition("#")
    return (file, row) if mark and file.lower().endswith(".npz") else (ref, None)


def read_radiograph(ref: str, target_size: int | None = None) -> Radiograph:
    """Read an image by its reference in a manifest.

    Raises
    ------
    ImageError
        As `images.read`, or the row does not exist.
    """
    file, row = split_ref(ref)
    if row is None:
        return read(file, target_size=target_size)
    split, _, index = row.partition("/")
    images = _load_array(file, f"{split}_images", _stamp(Path(file)), required=False)
    if images is None or not _ROW.fullmatch(index) or int(index) >= len(images):
        raise ImageError(f"{ref} does not exist.")
    pixels = images[int(index)]
    return from_array(pixels, "RGB" if pixels.ndim == 3 else "MONOCHROME2", name=ref)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise ImageError(f"{path} does not exist.") from error
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=8)
def _load_array(
    path: str, name: str, stamp: tuple[int, int], required: bool = True
) -> NDArray[np.generic] | None:
    """Load one array of a file; `stamp` makes a changed file another key."""
    try:
        # Opened here, since np.load does not close what it refuses.
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            check_growth(str(path), Path(path).stat().st_size, file.zip.infolist())
            if name not in file and not required:
                return None
            array: NDArray[np.generic] = file[name]
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not a readable .npz without pickles: {reason}") from error
    if not isinstance(array, np.ndarray):  # a member that is no array comes as bytes
        raise DataError(f"{path} is not a readable .npz: {name} is no array.")
    return array

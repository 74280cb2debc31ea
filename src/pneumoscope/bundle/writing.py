"""Saving a bundle: it appears as a whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope._files import hash_bytes, hash_file
from pneumoscope.bundle.card import write_card
from pneumoscope.bundle.image_hashes import ImageHashes, pack_digests
from pneumoscope.bundle.reading import Bundle, is_bundle, read_bundle
from pneumoscope.bundle.schema import (
    CARD,
    GRAPH,
    INFO,
    REFERENCE,
    REQUIRED_FILES,
    TRAINING_IMAGES,
    WEIGHTS,
    BundleInfo,
    FileInfo,
)
from pneumoscope.bundle.seal import serialise_info
from pneumoscope.bundle.tensors import TensorPlace, narrow, pack_tensors
from pneumoscope.errors import BundleError


def write_bundle(
    path: str | os.PathLike[str],
    info: BundleInfo,
    *,
    weights: Mapping[str, NDArray[Any]],
    graph: Callable[[Mapping[str, TensorPlace]], bytes],
    reference: Mapping[str, NDArray[Any]],
    training_images: ImageHashes,
    card: str | None = None,
) -> Bundle:
    """Write a bundle from arrays, and return it opened.

    Parameters
    ----------
    path
        The folder to be made. An older bundle there is replaced; anything else is refused.
    info
        Everything but `files`, which is filled in here.
    weights
        By name; floats are stored as float16.
    graph
        Given where each tensor lies in `model.safetensors`, returns the bytes of `model.onnx`.
    reference
        Plain arrays to compare with later: scores, labels, statistics.
    training_images
        Every image that trained the model or the weights it started from.
    card
        The model card; written from `info` where it is not given.

    Raises
    ------
    BundleError
        A weight is not finite, an array is of objects, or the folder cannot be written.
    """
    for name, array in weights.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError(
                f"The weight {name} is not finite: the training diverged, and is not saved; "
                "try a lower learning rate."
            )
    packed, places = pack_tensors({name: narrow(array) for name, array in weights.items()})
    files: dict[str, bytes | Path] = {
        WEIGHTS: packed,
        GRAPH: graph(places),
        REFERENCE: pack_arrays(reference),
        TRAINING_IMAGES: pack_images(training_images),
    }
    if card is not None:
        files[CARD] = card.encode()
    return write_files(path, info, files)


def check_free(path: str | os.PathLike[str]) -> None:
    """Raise BundleError where something stands at a place for a new bundle."""
    target = Path(path)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BundleError(f"{target} exists and is no folder; choose another one for the bundle.")
    if target.is_dir() and any(target.iterdir()):
        what = "holds a bundle" if is_bundle(target) else "is not empty"
        raise BundleError(f"{target} {what}, which is never overwritten; choose another folder.")


def write_files(
    path: str | os.PathLike[str], info: BundleInfo, files: Mapping[str, bytes | Path]
) -> Bundle:
    """Write a bundle from ready files: bytes, or paths that are copied.

    So a bundle is made from another one (recalibrated, or with one more graph) without touching
    its weights: `{name: bundle.file(name) for name in bundle.info.files} | changed`. The model
    card is written afresh unless it is among `files`.
    """
    target = Path(path).absolute()
    if not _may_replace(target):
        raise BundleError(
            f"{target} exists and is no bundle, or holds other things too; choose another folder."
        )
    if CARD not in files:
        files = {**files, CARD: write_card(info, _list_arrays(files.get(REFERENCE))).encode()}
    missing = [name for name in REQUIRED_FILES if name not in files]
    if missing:
        raise BundleError(f"A bundle needs {missing[0]}; it was not given.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            folder = Path(name) / "bundle"
            folder.mkdir()
            _fill(folder, info, files)
            _publish(folder, target, Path(name) / "replaced")
    except OSError as error:
        why = error.strerror or error
        raise BundleError(f"The bundle {target} cannot be written: {why}.") from error
    return read_bundle(target)


def _fill(folder: Path, info: BundleInfo, files: Mapping[str, bytes | Path]) -> None:
    prints = {}
    for name in sorted(files):
        source = files[name]
        if isinstance(source, Path):
            shutil.copyfile(source, folder / name)
            prints[name] = FileInfo(
                sha256=hash_file(folder / name), size=(folder / name).stat().st_size
            )
        else:
            (folder / name).write_bytes(source)
            prints[name] = FileInfo(sha256=hash_bytes(source), size=len(source))
    complete = BundleInfo.model_validate({**dict(info), "files": prints})
    (folder / INFO).write_bytes(serialise_info(complete))
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _publish(folder: Path, target: Path, replaced: Path) -> None:
    if target.exists():
        target.rename(replaced)  # goes with the temporary folder
    try:
        folder.rename(target)
    except OSError:
        if replaced.exists():
            replaced.rename(target)
        raise
    if os.name == "posix":  # Windows cannot open a folder to sync it
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _may_replace(target: Path) -> bool:
    """Whether nothing is lost with what stands at `target`: nothing, or only a bundle's files."""
    if not target.exists():
        return not target.is_symlink()
    if not target.is_dir():
        return False
    entries = list(target.iterdir())
    kinds = {Path(name).suffix for name in (INFO, *REQUIRED_FILES)}
    return not entries or (
        is_bundle(target) and all(entry.is_file() and entry.suffix in kinds for entry in entries)
    )


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of an `.npz` file of a bundle.

    Raises
    ------
    BundleError
        An array is of objects.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise BundleError(f"The array {name} holds Python objects; only numbers are stored.")
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(arrays))
    return stream.getvalue()


def _list_arrays(archive: bytes | Path | None) -> list[str]:
    """Return the names of the arrays in an `.npz` file, none where it is no such file."""
    source = io.BytesIO(archive) if isinstance(archive, bytes) else archive
    try:
        with zipfile.ZipFile(source or io.BytesIO()) as opened:
            return [name.removesuffix(".npy") for name in opened.namelist()]
    except zipfile.BadZipFile:
        return []


def pack_images(images: ImageHashes) -> bytes:
    """Return the bytes of `training_images.npz`: every hash once, sorted."""
    arrays = {"sha256": pack_digests(sorted(set(images.sha256)))}
    if images.phash:
        arrays["phash"] = pack_digests(sorted(set(images.phash)))
    return pack_arrays(arrays)

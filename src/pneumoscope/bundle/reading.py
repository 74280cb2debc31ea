"""Opening a bundle: the description is checked at once, every file when it is first opened."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope._files import hash_bytes, hash_file
from pneumoscope.bundle.image_hashes import ImageHashes, unpack_digests
from pneumoscope.bundle.schema import (
    INFO,
    MAX_INFO_BYTES,
    REFERENCE,
    REQUIRED_FILES,
    TRAINING_IMAGES,
    WEIGHTS,
    BundleInfo,
)
from pneumoscope.bundle.seal import parse_info
from pneumoscope.errors import BundleError

_FRESH_COPY = "take a fresh copy of the bundle"
# An archive of arrays may claim to unfold into more than any machine has.
_MAX_ARRAYS_BYTES = 1 << 30


class Bundle:
    """A saved model: a folder that stands alone, opened with `read_bundle`.

    Reading needs neither torch nor onnx. Every file is hashed against `bundle.json` the first time
    that it is asked for, and never again while this object lives.
    """

    def __init__(self, path: Path, info: BundleInfo, sha256: str) -> None:
        self.path = path
        self.info = info
        self.sha256 = sha256
        """The sha256 of `bundle.json`, and through it of everything in the bundle."""
        self._verified: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Bundle({self.info.name!r}, {str(self.path)!r})"

    def file(self, name: str) -> Path:
        """Return the path of a file whose hash was checked; a graph brings its weights along.

        Raises
        ------
        BundleError
            The bundle has no such file, or it is missing or damaged.
        """
        if not self.info.has(name):
            raise BundleError(
                f"{self.path} has no file {name}; it has {', '.join(sorted(self.info.files))}."
            )
        with self._lock:
            # A graph holds no weights of its own: it points into the file of the weights.
            for needed in (name, WEIGHTS) if name.endswith(".onnx") else (name,):
                if needed not in self._verified:
                    problem = self._find_problem(needed)
                    if problem:
                        raise BundleError(f"{self.path}: {problem}; {_FRESH_COPY}.")
                    self._verified.add(needed)
        return self.path / name

    def reference(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of `reference.npz`: scores, labels and statistics to compare with."""
        return self.arrays(REFERENCE)

    def training_images(self) -> ImageHashes:
        """Return the hashes of every image that trained the model; each kind sorted by itself."""
        arrays = self.arrays(TRAINING_IMAGES)
        arrays.setdefault("phash", np.empty((0, 32), np.uint8))
        for name in ("sha256", "phash"):
            rows = arrays.get(name)
            if rows is None or rows.dtype != np.uint8 or rows.shape[1:] != (32,):
                raise BundleError(f"{self.path}: {TRAINING_IMAGES} holds no {name}; {_FRESH_COPY}.")
        return ImageHashes(unpack_digests(arrays["sha256"]), unpack_digests(arrays["phash"]))

    def verify(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Hash every file again, checked before or not; return what is wrong, in words."""
        problems = []
        for done, name in enumerate(self.info.files, start=1):
            problem = self._find_problem(name)
            if problem:
                problems.append(problem)
            if progress:
                progress(done, len(self.info.files))
        return problems

    def _find_problem(self, name: str) -> str | None:
        expected, path = self.info.files[name], self.path / name
        try:
            size = path.stat().st_size
            if size != expected.size:
                return f"{name} is damaged ({size:,} bytes, not {expected.size:,})"
            if hash_file(path) != expected.sha256:
                return f"{name} is damaged (its sha256 is not the recorded one)"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror or error})"
        return None

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of a verified `.npz` file of the bundle.

        Raises
        ------
        BundleError
            There is no such file, it is damaged, or holds anything but plain arrays.
        """
        try:
            data = self.file(name).read_bytes()
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(member.file_size for member in archive.infolist()) > _MAX_ARRAYS_BYTES:
                    raise BundleError(f"{self.path}: {name} unfolds into too much; not used.")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{self.path}: {name} holds no plain arrays ({error}); {_FRESH_COPY}."
            ) from error


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Open the bundle in the folder `path`; files are verified as they are opened.

    Raises
    ------
    BundleError
        The folder is no bundle, lacks a file, is damaged, foreign, or newer than this version.
    """
    folder = Path(path)
    if not folder.exists():
        raise BundleError(f"There is no bundle at {folder}; give the folder that training wrote.")
    file = folder / INFO
    if not file.is_file():
        raise BundleError(
            f"{folder} is not a bundle: it has no {INFO}; give the folder that training wrote, "
            "such as runs/NAME/bundle."
        )
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_INFO_BYTES)
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror or error}.") from error
    info = parse_info(data, str(folder))
    unlisted = [name for name in REQUIRED_FILES if not info.has(name)]
    if unlisted:
        raise BundleError(f"{folder} is not a whole bundle: {INFO} lists no {unlisted[0]}.")
    missing = [name for name in info.files if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"{folder}: {missing[0]} is missing; {_FRESH_COPY}.")
    return Bundle(folder, info, hash_bytes(data))


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether a folder claims to be a bundle; `read_bundle` tells whether it is a good one."""
    return (Path(path) / INFO).is_file()


def find_shipped_bundle() -> Path | None:
    """Return the folder of the bundle that comes with the package, where one does."""
    folder = Path(__file__).parent.parent / "weights"
    return folder if is_bundle(folder) else None


def verify_bundle(
    path: str | os.PathLike[str], *, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Hash every file of the bundle again; return what is wrong, in words, nothing where all is.

    Raises
    ------
    BundleError
        There is no bundle, or its description cannot be trusted, so that nothing can be compared.
    """
    return read_bundle(path).verify(progress)

"""Archives are hostile until proven otherwise; this is the only place that unpacks one.

Only regular files are written, only below the target, only up to stated sizes. Links, devices,
absolute paths and `..` are refused as an attack; macOS litter is passed over. An interrupted
extraction leaves nothing that looks whole.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pneumoscope._files import build_folder, find_cache_folder, hash_file
from pneumoscope.errors import ArchiveError

MAX_FILES = 2_000_000
MAX_BYTES = 500 * 2**30
#: X-ray files are compressed already; even a CSV does not shrink this much.
MAX_RATIO = 200
_SPARE = 64 * 2**20
_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class _Member:
    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is an archive."""
    return path.name.lower().endswith(_SUFFIXES)


def unpack_archive(archive: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Unpack an archive into the cache, once for each content, and return the folder."""
    folder = find_cache_folder() / "archives" / hash_file(archive)[:16]
    if not folder.is_dir():
        try:
            extract_archive(archive, folder, progress=progress)
        except ArchiveError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def extract_archive(
    archive: Path, destination: Path, *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Extract an archive into a new folder and return the number of files.

    Kaggle's nested second copy of the tree (`chest_xray/chest_xray/…`), `__MACOSX`, `.DS_Store` and
    other hidden files are left out. The folder appears when all is written.

    Raises
    ------
    ArchiveError
        The archive is damaged, encrypted, a bomb, or tries to write outside the folder.
    """
    if destination.exists():
        raise ArchiveError(f"{destination} exists already: choose another folder, or remove it.")
    try:
        with build_folder(destination) as staging, _open_archive(archive) as members:
            wanted = _plan(archive, members, staging)
            total = sum(member.size for member in wanted)
            done = 0
            for member in wanted:
                done += _write(archive, member, staging)
                if progress:
                    progress(done, total)
        return len(wanted)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
        MemoryError,
        ValueError,
        struct.error,
    ) as error:
        raise ArchiveError(f"{archive} is damaged: {error}.") from error
    except OSError as error:  # names that are too long, a file where a folder should be, no space
        raise ArchiveError(f"{archive} cannot be unpacked into {destination}: {error}.") from error


class _open_archive:  # noqa: N801  a context manager, used as a function
    """Yield the members of a zip or tar file, each checked to be a plain file with a safe name."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._file: zipfile.ZipFile | tarfile.TarFile | None = None

    def __enter__(self) -> Iterator[_Member]:
        try:
            if zipfile.is_zipfile(self._archive):
                self._file = zipfile.ZipFile(self._archive)
                return _list_zip(self._archive, self._file)
            self._file = tarfile.open(self._archive)
            return _list_tar(self._archive, self._file)
        except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
            raise ArchiveError(f"{self._archive} is not a readable zip or tar archive.") from error

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def check_growth(name: str, size: int, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse a zip file whose members, one or all, unfold into far more than they take.

    Parameters
    ----------
    name
        What to call it in the error.
    size
        Of the archive, in bytes.

    Raises
    ------
    ArchiveError
        It is a bomb.
    """
    largest = max(size, 1024) * MAX_RATIO
    total = 0
    for info in members:
        total += info.file_size  # entries that overlap share their compressed bytes
        if info.file_size > max(info.compress_size, 1024) * MAX_RATIO or total > largest:
            raise ArchiveError(f"{name} is a bomb: {info.filename!r} grows over {MAX_RATIO} times.")


def _list_zip(archive: Path, file: zipfile.ZipFile) -> Iterator[_Member]:
    check_growth(str(archive), archive.stat().st_size, file.infolist())
    for info in file.infolist():
        if info.is_dir():
            _check_name(archive, info.filename)
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in {0, stat.S_IFREG}:
            raise ArchiveError(f"{archive} holds a link or device, {info.filename!r}: refused.")
        if info.flag_bits & 1:
            raise ArchiveError(f"{archive} is encrypted: unpack it yourself and name the folder.")
        path = _check_name(archive, info.filename)
        yield _Member(path, info.file_size, lambda info=info: file.open(info))  # type: ignore[misc]


def _list_tar(archive: Path, file: tarfile.TarFile) -> Iterator[_Member]:
    largest = max(archive.stat().st_size, 1024) * MAX_RATIO
    total = 0
    for info in file:
        if info.isdir():
            if info.name not in {"", "."}:  # the folder itself, as `tar -c .` has it
                _check_name(archive, info.name)
            continue
        if not info.isreg():
            raise ArchiveError(f"{archive} holds a link or device, {info.name!r}: refused.")
        total += info.size
        if total > largest:
            raise ArchiveError(f"{archive} is a bomb: it grows over {MAX_RATIO} times.")

        def read(info: tarfile.TarInfo = info) -> IO[bytes]:
            stream = file.extractfile(info)
            assert stream is not None  # regular files always have one
            return stream

        yield _Member(_check_name(archive, info.name), info.size, read)
    # Where the archive breaks off, the iteration above just ends.
    assert file.fileobj is not None
    file.fileobj.seek(file.offset)
    if file.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise ArchiveError(f"{archive} is truncated: its end is missing.")


def _check_name(archive: Path, name: str) -> PurePosixPath:
    """Return a member's path if it stays inside; on every system, also those we do not run on."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or drive or ".." in path.parts or "\0" in name or not path.parts:
        raise ArchiveError(f"{archive} tries to write outside its folder with {name!r}: refused.")
    return path


def _plan(archive: Path, members: Iterator[_Member], staging: Path) -> list[_Member]:
    """Choose what is written, and check sizes and space before the first byte."""
    wanted: dict[str, _Member] = {}
    total = 0
    for count, member in enumerate(members):
        if count >= MAX_FILES or total > MAX_BYTES:
            raise ArchiveError(
                f"{archive} holds more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB."
            )
        if any(part.startswith(".") or part == "__MACOSX" for part in member.path.parts):
            continue
        if str(member.path).casefold() in wanted:
            raise ArchiveError(f"{archive} holds {str(member.path)!r} twice: refused.")
        wanted[str(member.path).casefold()] = member
        total += member.size
    kept = [m for m in wanted.values() if not _is_second_copy(m.path, wanted)]
    needed, free = sum(member.size for member in kept), shutil.disk_usage(staging).free
    if needed + _SPARE > free:
        raise ArchiveError(
            f"{archive} needs {needed / 1e9:.1f} GB in {staging.parent}, {free / 1e9:.1f} GB are "
            "free."
        )
    if not kept:
        raise ArchiveError(f"{archive} holds no files.")
    return kept


def _is_second_copy(path: PurePosixPath, wanted: dict[str, _Member]) -> bool:
    """Whether `a/a/rest` repeats `a/rest`, as Kaggle's archive does."""
    parts = path.parts
    return any(
        parts[i] == parts[i + 1]
        and str(PurePosixPath(*parts[:i], *parts[i + 1 :])).casefold() in wanted
        for i in range(len(parts) - 2)
    )


def _write(archive: Path, member: _Member, staging: Path) -> int:
    """Write one member; what it holds beyond its stated size is a bomb."""
    target = staging.joinpath(*member.path.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, target.open("xb") as sink:
        while piece := source.read(1 << 20):
            written += len(piece)
            if written > member.size:
                raise ArchiveError(f"{archive} is a bomb: {member.path} is larger than it says.")
            sink.write(piece)
    if written < member.size:
        raise ArchiveError(f"{archive} is truncated at {member.path}.")
    os.utime(target, (0, 0))  # the archive's clock says nothing that anybody should rely on
    return written

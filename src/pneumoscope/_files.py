"""Files on disk: hashes, writes that are whole or absent, and where caches live."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from pneumoscope.errors import PneumoscopeError

_STALE_SECONDS = 24 * 3600
#: How a folder's name begins in which its next contents are made.
STAGING = ".part-"


def hash_bytes(data: bytes) -> str:
    """Return the sha256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits, reading it in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def replace_atomically(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes its place.

    A reader sees the old file or the new one, never a half-written one, also after a power cut.
    Its mode is that of any new file, if none is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # nobody knows the temporary one
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask() if mode is None else mode)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename in {None, name}:  # a full disk names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | memoryview | str, mode: int | None = None) -> None:
    """Write `data` to `path` so that it is there as a whole or not at all."""
    with replace_atomically(path, mode) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def build_folder(destination: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `destination`; on success it takes that place.

    The place must be free, or an empty folder. Nothing half-made ever looks whole: what a killed
    process left behind is removed, what a living one builds is let be.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{destination.name}.part-"
    _remove_stale(destination.parent, prefix)
    staging = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=destination.parent))
    try:
        yield staging
        staging.chmod(0o777 & ~_umask())
        if destination.is_dir():
            destination.rmdir()
        staging.rename(destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def rebuild_folder(folder: Path, names: Collection[str], *, last: str) -> Iterator[Path]:
    """Yield a hidden folder within `folder`; on success what it holds replaces what is there.

    Until then nothing is touched, whatever happens. It lies within, since a folder that was mounted
    cannot be renamed.

    Parameters
    ----------
    names
        What may be replaced; whatever else is there stays.
    last
        Goes first and comes last: where it is there, all is of one making.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder, STAGING)
    staging = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=folder))
    try:
        yield staging
        for name in sorted(names, key=lambda name: name != last):
            _remove(folder / name)
        for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == last):
            entry.rename(folder / entry.name)
        _sync_folder(folder)
    except OSError as error:
        error.filename = str(folder)  # nobody knows the hidden one
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it holds something by now
                folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_stale(folder: Path, prefix: str) -> None:
    for entry in folder.iterdir():
        if entry.name.startswith(prefix):
            owner = entry.name.removeprefix(prefix).split("-")[0]
            if not owner.isdigit() or not _is_alive(int(owner)):
                shutil.rmtree(entry, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def take_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed, at the latest with this process; False if it is taken.

    Where the system or the file system has no locks, nothing is taken.
    """
    if os.name != "posix":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def make_room(folder: Path, pattern: str, needed: int, limit: int) -> None:
    """Remove a cache's files used longest ago until `needed` more bytes stay within `limit`.

    What killed processes left of files that they were writing goes too, after a day.
    """
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()
    files = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime)
    total = sum(file.stat().st_size for file in files)
    while files and total + needed > limit:
        oldest = files.pop(0)
        total -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)


def find_cache_folder() -> Path:
    """Return the folder for caches: `PNEUMOSCOPE_CACHE`, or the user's own cache folder."""
    chosen = os.environ.get("PNEUMOSCOPE_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("pneumoscope"))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder to sync it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: What lies in the cache folder, one subfolder each.
CACHES = ("activations", "archives", "compiled", "pixels", "weights")


def measure_caches() -> dict[str, int]:
    """Return the size in bytes of each cache."""
    root = find_cache_folder()
    return {
        name: sum(file.stat().st_size for file in (root / name).rglob("*") if file.is_file())
        for name in CACHES
    }


def clear_caches(names: list[str] | None = None) -> int:
    """Remove these caches, all by default, and return the bytes freed.

    Raises
    ------
    PneumoscopeError
        There is no cache of such a name.
    """
    unknown = [name for name in names or [] if name not in CACHES]
    if unknown:
        raise PneumoscopeError(f"There is no cache {unknown[0]!r}: choose {', '.join(CACHES)}.")
    sizes = measure_caches()
    for name in names or CACHES:
        shutil.rmtree(find_cache_folder() / name, ignore_errors=True)
    return sum(sizes[name] for name in names or CACHES)

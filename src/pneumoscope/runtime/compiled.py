"""Compiled models, kept between starts: by all that decides what they compute, and verified."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from pathlib import Path

from pneumoscope._files import find_cache_folder, hash_file, write_atomically
from pneumoscope.bundle import WEIGHTS, Bundle
from pneumoscope.runtime.precision import describe_precision, read_instructions

#: Compiled models kept; those used longest ago go first.
_MOST_COMPILED = 12
_MARKER = "confirmed"


def open_memory(bundle: Bundle, precision: str, *engine: object) -> Path | None:
    """Return a folder for all that decides what is computed; None where none can be made.

    OpenVINO's own key for a compiled model sees the graph, but not its weights, which lie in
    another file. What was confirmed and is not as it was then is removed: a damaged model would be
    loaded and answer something. A read-only or full disk only costs time.
    """
    graph = describe_precision(precision, bundle.info).graph
    files = bundle.info.files
    parts = (
        files[graph].sha256,
        files[WEIGHTS].sha256,
        precision,
        engine,
        platform.machine(),
        read_instructions(),  # caches may lie on a disk that other machines see
        os.cpu_count(),
    )
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    folder = find_cache_folder() / "compiled" / key[:32]
    try:
        if is_confirmed(folder) and not _is_intact(folder):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()  # its time says when it was used
        others = sorted(folder.parent.iterdir(), key=lambda other: other.stat().st_mtime)
    except OSError:
        return None
    for other in others[:-_MOST_COMPILED]:
        shutil.rmtree(other, ignore_errors=True)
    return folder if os.access(folder, os.W_OK) else None


def is_confirmed(folder: Path) -> bool:
    """Whether `confirm` was called; `open_memory` has removed what changed since then."""
    return (folder / _MARKER).exists()


def _is_intact(folder: Path) -> bool:
    """Whether the folder is as `confirm` left it, byte by byte."""
    try:
        return (folder / _MARKER).read_text() == _list_files(folder)
    except (OSError, UnicodeDecodeError):
        return False


def confirm(folder: Path) -> None:
    """Note that the model in this folder answered the golden images as recorded."""
    write_atomically(folder / _MARKER, _list_files(folder))


def _list_files(folder: Path) -> str:
    files = sorted(file for file in folder.iterdir() if file.name != _MARKER)
    return "".join(f"{hash_file(file)}  {file.name}\n" for file in files)

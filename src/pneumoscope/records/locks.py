"""Locks between processes, which the system gives back whatever ends a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pneumoscope._files import take_lock


@contextmanager
def hold_lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Wait for a lock, alone or together with other holders of shared ones, and hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Presence:
    """A process that says that it lives, by a lock that ends with it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}.lock"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        take_lock(self._descriptor)

    def is_alive(self, name: str) -> bool:
        """Whether the process of this name lives; of our own, it does."""
        if name == self.name:
            return True
        try:
            descriptor = os.open(self._folder / f"{name}.lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not take_lock(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Say that this process is done."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

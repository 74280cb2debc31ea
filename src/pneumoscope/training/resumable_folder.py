"""A folder of long work: held against a second process, never overwritten, resumed after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pneumoscope._files import take_lock
from pneumoscope.errors import RunError

_LOCK = ".lock"


class ResumableFolder:
    """The folder that one piece of long work makes, and may be resumed in.

    Parameters
    ----------
    path
        The folder; it need not exist.
    started
        Name of the file without which there is nothing to resume; whoever writes it has written
        all that a resume needs.
    outcome
        Name of the file that is written last.
    """

    noun = "run"
    """What people call the work."""
    before_start = frozenset[str]()
    """Names of what may lie in the folder before `started` does."""

    def __init__(self, path: Path, *, started: str, outcome: str) -> None:
        self.path = path
        self.started = path / started
        self.outcome = path / outcome

    @property
    def is_finished(self) -> bool:
        """Whether the work came to its end."""
        return self.outcome.is_file()

    @contextmanager
    def hold(self, resume: bool) -> Iterator[None]:
        """Hold the folder; where the work fails before it started, nothing of it stays.

        Raises
        ------
        RunError
            The folder is in use, finished, holds something else, or has nothing to resume.
        """
        self._check(resume)
        is_new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        place = self.path / _LOCK
        with place.open("w") as lock:
            if not take_lock(lock.fileno()):
                raise RunError(
                    f"{self.path} is in use by another {self.noun}: wait for it, or choose another "
                    "--out."
                )
            try:
                self._check(resume)  # again: another may have ended here since
                if not self.started.is_file():
                    self._discard()
                yield
            finally:
                if not self.started.is_file():
                    self._discard()
                place.unlink(missing_ok=True)
                if is_new and not any(self.path.iterdir()):
                    self.path.rmdir()

    def is_before_start(self, entry: Path) -> bool:
        """Return whether this may be left by work that was killed before it started."""
        return entry.name in self.before_start or entry.name.endswith(".part")

    def _check(self, resume: bool) -> None:
        if self.path.is_file():
            raise RunError(f"{self.path} is a file: --out takes a folder.")
        if self.is_finished:
            raise RunError(
                f"{self.path} is a finished {self.noun}, see {self.outcome}: choose another --out "
                "for a new one."
            )
        if self.started.is_file():
            if not resume:
                raise RunError(
                    f"{self.path} is not empty: add --resume to go on with it, or choose another "
                    "--out."
                )
            return
        if resume:
            raise RunError(
                f"{self.path} holds no {self.noun} to resume: leave out --resume to start one."
            )
        foreign = [entry.name for entry in self._list() if not self.is_before_start(entry)]
        if foreign:
            raise RunError(
                f"{self.path} holds other things, such as {foreign[0]}: choose another --out."
            )

    def _list(self) -> list[Path]:
        entries = self.path.iterdir() if self.path.exists() else ()
        return sorted(entry for entry in entries if entry.name != _LOCK)

    def _discard(self) -> None:
        for entry in self._list():
            if self.is_before_start(entry):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

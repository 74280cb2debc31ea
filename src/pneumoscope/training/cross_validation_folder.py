"""The folder of a cross-validation: what lies where, who holds it, and what it was asked to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pneumoscope._files import take_lock, write_atomically
from pneumoscope.errors import RunError
from pneumoscope.training.folder import RunFolder


class CrossValidationFolder:
    """A folder of run folders, one a seed and fold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "cross_validation.yaml"
        self.manifest = path / "manifest.parquet"
        self.out_of_fold = path / "out_of_fold.csv"
        self.numbers = path / "cross_validation.json"
        self.page = path / "cross_validation.html"

    def seed(self, seed: int) -> Path:
        """Return the folder of a seed."""
        return self.path / f"seed-{seed}"

    def folds(self, seed: int) -> Path:
        """Return the split file with the folds of a seed."""
        return self.seed(seed) / "folds.csv"

    def run(self, seed: int, index: int) -> RunFolder:
        """Return the run folder of the fold with this place in their order."""
        return RunFolder(self.seed(seed) / f"fold-{index}")

    @property
    def is_finished(self) -> bool:
        """Whether every fold was trained and judged; the page is written last."""
        return self.page.is_file()

    @contextmanager
    def hold(self, resume: bool) -> Iterator[None]:
        """Hold the folder against a second cross-validation; it is never overwritten.

        Raises
        ------
        RunError
            The folder is in use, finished, holds something else, or has nothing to resume.
        """
        if self.is_finished:
            raise RunError(
                f"{self.path} is a finished cross-validation, its page is {self.page}: choose "
                "another --out for a new one."
            )
        if resume and not self.config.is_file():
            raise RunError(
                f"{self.path} holds no cross-validation to resume: leave out --resume to start one."
            )
        is_new = not self.path.exists()
        if not resume and not is_new:
            self._check_free()
        self.path.mkdir(parents=True, exist_ok=True)
        place = self.path / ".lock"
        with place.open("w") as lock:
            if not take_lock(lock.fileno()):
                raise RunError(
                    f"{self.path} is in use by another cross-validation: wait for it, or choose "
                    "another --out."
                )
            try:
                yield
            finally:
                if not self.config.is_file():
                    self._discard()
                place.unlink(missing_ok=True)
                if is_new and not any(self.path.iterdir()):
                    self.path.rmdir()

    def _check_free(self) -> None:
        """Refuse a folder that holds anything but what one killed before its start left."""
        if self.config.is_file():
            raise RunError(
                f"{self.path} is not empty: add --resume to go on with it, or choose another --out."
            )
        foreign = [entry for entry in self.path.iterdir() if not self._is_before_start(entry)]
        if foreign:
            raise RunError(
                f"{self.path} holds other things, such as {min(foreign).name}: choose another "
                "--out."
            )
        self._discard()

    def _is_before_start(self, entry: Path) -> bool:
        if entry.is_dir():
            inside = {file.name for file in entry.iterdir()}
            return entry.name.startswith("seed-") and all(
                name == "folds.csv" or name.endswith(".part") for name in inside
            )
        return entry.name in {".lock", self.manifest.name} or entry.name.endswith(".part")

    def _discard(self) -> None:
        """Leave no trace of a cross-validation that failed before it started."""
        for entry in sorted(self.path.iterdir()):
            if entry.name == ".lock" or not self._is_before_start(entry):
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write what was asked for and settled; from here on there is something to resume."""
        write_atomically(self.config, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def read_config(self) -> dict[str, Any]:
        """Read it back.

        Raises
        ------
        RunError
            The file is damaged.
        """
        wanted = {"folds", "seeds", "names", "folds_given", "layout", "notes", "excluded", "run"}
        try:
            tree = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(f"{self.config} cannot be read; start a new one.") from error
        if not isinstance(tree, dict) or not wanted <= set(tree):
            raise RunError(f"{self.config} is damaged; start a new one.")
        return tree

"""The run folder: one place that knows what lies where, who holds it, and whether it is whole."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from pneumoscope._files import take_lock, write_atomically
from pneumoscope.errors import RunError
from pneumoscope.training.loop import EpochRow

#: What lies in the folder before its configuration says that there is a run to resume.
_BEFORE_START = frozenset({"state", "logs", "manifest.parquet", "environment.json"})


class RunFolder:
    """A folder `runs/NAME`. What stands under `state/` serves resuming and goes at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.manifest = path / "manifest.parquet"
        self.history = path / "history.csv"
        self.metrics = path / "metrics.json"
        self.report = path / "report.html"
        self.bundle = path / "bundle"
        self.best = path / "best.safetensors"
        self.logs = path / "logs"
        self.state = path / "state"
        self.checkpoint = self.state / "checkpoint.pt"
        self.initial = self.state / "initial.pt"

    def stage_weights(self, stage: str) -> Path:
        """Return where a finished stage's weights are kept."""
        return self.state / f"{stage}.pt"

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end: its report is written and its state cleared."""
        return self.report.is_file() and not self.state.exists()

    @contextmanager
    def hold(self, resume: bool) -> Iterator[None]:
        """Hold the folder against a second run; it is never overwritten.

        Raises
        ------
        RunError
            The folder is in use, finished, holds something else, or has nothing to resume.
        """
        if self.is_finished:
            raise RunError(
                f"{self.path} is a finished run, its report is {self.report}: "
                "choose another --out for a new run."
            )
        if resume and not self.config.is_file():
            raise RunError(f"{self.path} holds no run to resume: leave out --resume to start one.")
        if not resume and self.path.exists():
            self._check_free()
        is_new = not self.path.exists()
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "lock").open("w") as lock:
            if not take_lock(lock.fileno()):
                raise RunError(
                    f"{self.path} is in use by another training run: wait for it, or choose "
                    "another --out."
                )
            try:
                yield
            finally:
                if not self.config.is_file():
                    self._discard(is_new)

    def _check_free(self) -> None:
        """Refuse a folder that holds anything but what a run killed before its start left."""
        if self.config.is_file():
            raise RunError(
                f"{self.path} is not empty: add --resume to go on with it, or choose another --out."
            )
        if any(entry.name not in _BEFORE_START for entry in sorted(self.path.iterdir())):
            raise RunError(f"{self.path} is not empty: it is not a run, choose another --out.")

    def _discard(self, whole: bool) -> None:
        """Leave no trace of a run that failed before it started."""
        for entry in sorted(self.path.iterdir()):
            if entry.name in _BEFORE_START:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if whole and not any(self.path.iterdir()):
            self.path.rmdir()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the resolved configuration."""
        write_atomically(self.config, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def read_config(self) -> dict[str, Any]:
        """Read the configuration back."""
        try:
            tree = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(f"{self.config} cannot be read; start a new run.") from error
        if not isinstance(tree, dict):
            raise RunError(f"{self.config} is damaged; start a new run.")
        return tree

    def read_environment(self) -> dict[str, Any]:
        """Read back what the run ran on."""
        try:
            tree = json.loads(self.environment.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.environment} cannot be read; start a new run.") from error
        if not isinstance(tree, dict):
            raise RunError(f"{self.environment} is damaged; start a new run.")
        return tree

    def write_json(self, path: Path, tree: Any) -> None:
        """Write plain values as readable JSON."""
        write_atomically(path, json.dumps(tree, indent=2, ensure_ascii=False) + "\n")

    def write_history(self, rows: Sequence[EpochRow]) -> None:
        """Write the history as it stands, whole, so that it never disagrees with a checkpoint."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(EpochRow)])
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(row).items()}
            )
        write_atomically(self.history, text.getvalue())

    def clear_state(self) -> None:
        """Remove what served resuming; from here on the run is finished."""
        self.best.unlink(missing_ok=True)
        gone = self.path / f".state-{os.getpid()}"
        self.state.rename(gone)  # at once, so that a kill leaves no half-cleared state
        shutil.rmtree(gone, ignore_errors=True)

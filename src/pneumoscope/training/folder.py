"""The run folder: one place that knows what lies where, who holds it, and whether it is whole."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from pneumoscope._files import write_atomically
from pneumoscope.errors import RunError
from pneumoscope.training.loop import EpochRow
from pneumoscope.training.resumable_folder import ResumableFolder


class RunFolder(ResumableFolder):
    """A folder `runs/NAME`. What stands under `state/` serves resuming and goes at the end."""

    noun = "training run"
    before_start = frozenset({"state", "logs", "manifest.parquet", "environment.json"})

    def __init__(self, path: Path) -> None:
        super().__init__(path, started="config.yaml", outcome="report.html")
        self.config = self.started
        self.environment = path / "environment.json"
        self.manifest = path / "manifest.parquet"
        self.history = path / "history.csv"
        self.metrics = path / "metrics.json"
        self.report = self.outcome
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
        return self.outcome.is_file() and not self.state.exists()

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

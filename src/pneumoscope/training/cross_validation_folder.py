"""The folder of a cross-validation: what lies where, who holds it, and what it was asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pneumoscope._files import write_atomically
from pneumoscope.errors import RunError
from pneumoscope.training.folder import RunFolder
from pneumoscope.training.resumable_folder import ResumableFolder


class CrossValidationFolder(ResumableFolder):
    """A folder of run folders, one a seed and fold."""

    noun = "cross-validation"
    before_start = frozenset({"manifest.parquet"})

    def __init__(self, path: Path) -> None:
        super().__init__(path, started="cross_validation.yaml", outcome="cross_validation.html")
        self.config = self.started
        self.manifest = path / "manifest.parquet"
        self.out_of_fold = path / "out_of_fold.csv"
        self.numbers = path / "cross_validation.json"
        self.page = self.outcome

    def seed(self, seed: int) -> Path:
        """Return the folder of a seed."""
        return self.path / f"seed-{seed}"

    def folds(self, seed: int) -> Path:
        """Return the split file with the folds of a seed."""
        return self.seed(seed) / "folds.csv"

    def run(self, seed: int, index: int) -> RunFolder:
        """Return the run folder of the fold with this place in their order."""
        return RunFolder(self.seed(seed) / f"fold-{index}")

    def is_before_start(self, entry: Path) -> bool:
        """Return whether this may be left by a cross-validation that was killed early."""
        if entry.is_dir():
            inside = {file.name for file in entry.iterdir()}
            return entry.name.startswith("seed-") and all(
                name == "folds.csv" or name.endswith(".part") for name in inside
            )
        return super().is_before_start(entry)

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

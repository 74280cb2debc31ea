"""Runs side by side: what was set differently, and what came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumoscope.errors import RunError
from pneumoscope.training.folder import RunFolder

_NUMBERS = (
    "n", "auc", "average_precision", "accuracy", "recall", "specificity", "precision", "f1",
    "fn", "fp",
)  # fmt: skip
_NOT_SETTINGS = {"started", "notes", "excluded"}


@dataclass(frozen=True)
class RunComparison:
    """Rows of `name, value of each run`."""

    names: tuple[str, ...]
    settings: tuple[tuple[str, ...], ...]
    """Only what differs."""
    numbers: tuple[tuple[str, ...], ...]
    """Final stage, validation and test."""
    same_test: bool
    """Whether all runs were judged on the same test images."""


def compare_runs(paths: Sequence[Path]) -> RunComparison:
    """Compare finished runs.

    Raises
    ------
    RunError
        A folder is not a finished run.
    """
    configs, metrics, tests = [], [], []
    for path in paths:
        folder = RunFolder(path)
        if not folder.is_finished:
            raise RunError(
                f"{path} is not a finished run: it has no report, or is still under way."
            )
        configs.append(_flatten(folder.read_config()))
        metrics.append(_read_metrics(folder.metrics))
        tests.append(_read_test_hashes(folder.manifest))
    keys = sorted({key for config in configs for key in config})
    settings = [
        (key, *(str(config.get(key, "–")) for config in configs))
        for key in keys
        if len({str(config.get(key)) for config in configs}) > 1
    ]
    numbers = [
        (f"{split} {name}", *(_format(tree[split].get(name)) for tree in metrics))
        for split in ("val", "test")
        for name in _NUMBERS
    ]
    return RunComparison(
        names=tuple(path.name for path in paths),
        settings=tuple(settings),
        numbers=tuple(numbers),
        same_test=all(test == tests[0] for test in tests),
    )


def _read_metrics(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        final: dict[str, dict[str, Any]] = tree[tree["final"]]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} is missing or damaged.") from error
    return final


def _read_test_hashes(path: Path) -> frozenset[str]:
    import polars as pl

    try:
        frame = pl.read_parquet(path, columns=["sha256", "split"], glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path} is missing or damaged.") from error
    return frozenset(frame.filter(pl.col("split") == "test")["sha256"])


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        flat: dict[str, Any] = {}
        for key, value in tree.items():
            if prefix or key not in _NOT_SETTINGS:
                flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
        return flat
    if isinstance(tree, list) and any(isinstance(entry, dict) for entry in tree):
        named = {str(e.get("name", i)): e for i, e in enumerate(tree) if isinstance(e, dict)}
        return _flatten(named, prefix)
    return {prefix: tree}


def _format(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str("–" if value is None else value)

"""The folder that results are written to."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from pneumoscope._files import STAGING
from pneumoscope.errors import DataError


def check_out(out: Path, ours: Container[str]) -> None:
    """Raise `DataError` where a folder for results is a file, or holds others than `ours`."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: --out takes a folder.")
    for place in out.parents:
        if place.is_file():
            raise DataError(f"{place} is a file: a folder within it cannot be made.")
    there = [path.name for path in out.iterdir()] if out.exists() else []
    foreign = [name for name in there if name not in ours and not name.startswith(STAGING)]
    if foreign:
        raise DataError(
            f"{out} holds other things, such as {foreign[0]}: choose a new folder for --out."
        )


def check_model(out: Path, configuration: Mapping[str, Any]) -> None:
    """Raise `DataError` where a folder holds the evaluation of another model than this one.

    A model is known by the sha256 of its bundle, or of its file; `configuration` has it as
    `report.json` does. An evaluation without a report was broken off, and says of no model.
    """
    try:
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        there = _find_digest(report["configuration"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return
    if there is not None and there != _find_digest(configuration):
        name = str(report.get("title")).removeprefix("Evaluation of ")
        raise DataError(
            f"{out} holds the evaluation of another model, {name!r} (sha256 {there[:12]}…), which "
            "--out would replace: choose another --out, or remove that folder first."
        )


def _find_digest(configuration: Mapping[str, Any]) -> str | None:
    digest = configuration.get("bundle") or configuration.get("sha256")
    return None if digest is None else str(digest)

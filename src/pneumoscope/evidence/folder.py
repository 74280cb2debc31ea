"""The folder that results are written to."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from pneumoscope.errors import DataError


def check_out(out: Path, ours: Container[str]) -> None:
    """Raise `DataError` where a folder for results is a file, or holds others than `ours`."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: --out takes a folder.")
    foreign = [p.name for p in out.iterdir() if p.name not in ours] if out.exists() else []
    if foreign:
        raise DataError(
            f"{out} holds other things, such as {foreign[0]}: choose a new folder for --out."
        )

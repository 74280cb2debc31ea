"""What was left out, said at the end of every command that reads many files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pneumoscope.datasets import Skipped

_MOST = 10


def report_left_out(entries: Sequence[Skipped]) -> None:
    """Say how many files were left out and why; end with 1 where images were among them."""
    images = [entry for entry in entries if entry.is_image]
    others = [entry for entry in entries if not entry.is_image]
    if others:
        said = "1 file is no image" if len(others) == 1 else f"{len(others)} files are no images"
        typer.echo(make_printable(f"{said} by name, such as {others[0].path}."), err=True)
    if images:
        said = "1 image was" if len(images) == 1 else f"{len(images)} images were"
        typer.echo(f"{said} left out:", err=True)
        for entry in images[:_MOST]:
            typer.echo(f"  {make_printable(entry.reason)}", err=True)
        if len(images) > _MOST:
            typer.echo(f"  … and {len(images) - _MOST} more", err=True)
        raise typer.Exit(1)


def make_printable(text: str) -> str:
    """Return text as it is, but without orders to the terminal: anyone may name a file."""
    return "".join(char if char.isprintable() else "?" for char in text)

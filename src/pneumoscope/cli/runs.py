"""`pneumoscope runs`: look at finished training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

runs = typer.Typer(no_args_is_help=True, help="Look at finished training runs.")


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.add_typer(runs, name="runs")


@runs.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, two or more.")],
) -> None:
    """Show what differs between runs, and the numbers of their final stages.

    Example: `pneumoscope runs compare runs/a runs/b`
    """
    from rich.console import Console
    from rich.table import Table

    from pneumoscope._extras import require_extra

    require_extra("train", "torch", "polars", purpose="Comparing runs")
    from pneumoscope.training import compare_runs

    comparison = compare_runs(folders)
    if len(folders) < 2:
        raise typer.BadParameter("name two run folders or more, to have something to compare.")
    console = Console()
    for title, rows in (
        ("Settings that differ", comparison.settings),
        ("Numbers", comparison.numbers),
    ):
        table = Table(title=title, title_justify="left")
        for column in ("", *comparison.names):
            table.add_column(column, justify="left" if not column else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if not comparison.same_test:
        console.print("The runs were judged on different test images: the numbers do not compare.")

"""The `pneumoscope` command: gathers the groups and turns errors into one sentence and a code."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console

from pneumoscope import __version__
from pneumoscope.errors import PneumoscopeError

app = typer.Typer(
    name="pneumoscope",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Detect pneumonia in chest radiographs: get data, train, evaluate, explain, predict.\n\n"
    "Research use, not a diagnosis.",
)

# The order is the order of the work. Each module imports only typer and the standard library at
# its top, so that `pneumoscope --help` and `predict` start without torch or tables.
for _group in (
    "data",
    "training",
    "evaluation",
    "prediction",
    "bundles",
    "runs",
    "caches",
    "doctor",
):
    import_module(f"pneumoscope.cli.{_group}").register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pneumoscope {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Gather the options that stand before any command."""


def main() -> None:
    """Run the command line; the entry point that the package installs."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        app()
    except PneumoscopeError as error:
        errors.print(f"[bold red]error:[/] {_escape(str(error))}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(130)


def _escape(text: str) -> str:
    return text.replace("[", "\\[")

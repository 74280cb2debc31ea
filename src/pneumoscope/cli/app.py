"""The `pneumoscope` command: gathers the groups and turns errors into one sentence and a code."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

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
    "pretraining",
    "training",
    "evaluation",
    "recalibration",
    "prediction",
    "bundles",
    "runs",
    "caches",
    "doctor",
    "serving",
    "accounts",
    "recording",
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
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us, as with `>&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that are no text; it is printed all the same.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except PneumoscopeError as error:
        _print_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:  # what is left in the buffer would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        what = error.filename or "The output"
        _print_error(f"{what} cannot be read or written: {error.strerror or error}.")
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("Stopped before the end.", err=True)
        sys.exit(130)


def _print_error(message: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble(("error:", "bold red"), " ", message))

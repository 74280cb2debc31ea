"""`pneumoscope predict`: images in, one finding each out."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from pneumoscope._probability import format_probability
from pneumoscope.cli._left_out import make_printable
from pneumoscope.cli._options import BundleOption, EngineOption, PrecisionOption, QuietOption

if TYPE_CHECKING:
    from pneumoscope.runtime import Finding


class OutputFormat(StrEnum):
    """How findings are printed."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("predict")(predict)


def predict(
    paths: Annotated[
        list[str], typer.Argument(help="Image files, folders (searched within), or - for stdin.")
    ],
    bundle: BundleOption = None,
    output: Annotated[
        OutputFormat, typer.Option("--format", help="For people, or for programs.")
    ] = OutputFormat.TABLE,
    operating_point: Annotated[
        str | None,
        typer.Option(help="`rule_out`, `balanced` or `rule_in`; the bundle's choice by default."),
    ] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Write an overlay and the raw 7×7 map of each image here.")
    ] = None,
    engine: EngineOption = "openvino",
    precision: PrecisionOption = "fp32",
    quiet: QuietOption = False,
) -> None:
    """Say of each image whether it looks like pneumonia. Research use, not a diagnosis.

    JPEG, PNG, TIFF and DICOM are read. A file that cannot be read is reported and the rest goes
    on; the exit code is then 1.

    Example: `pneumoscope predict chest.jpg folder/ --heatmaps out/`
    """
    from pneumoscope import runtime
    from pneumoscope.cli._progress import show_progress
    from pneumoscope.errors import ImageError

    predictor = runtime.load(
        bundle, engine=engine, precision=precision, operating_point=operating_point
    )
    sources = list(_find_images(paths))
    failed: list[str] = []
    done = 0
    show_bar = not quiet and len(sources) > 20
    with show_progress("Predicting", quiet=not show_bar) as progress:
        try:
            printer = _PRINTERS[output]()
            for source, finding in zip(sources, predictor.predict_many(sources), strict=True):
                done += 1
                printer.print(finding)
                if finding.status is runtime.Status.ERROR:
                    failed.append(finding.message)
                elif heatmaps is not None:
                    try:
                        runtime.save_heatmap(heatmaps, finding, source)
                    except ImageError as error:
                        failed.append(str(error))
                progress(done, len(sources))
            printer.close()
        except BrokenPipeError:
            # The reader went away, as `head` does; there is nobody left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
    if not quiet:
        _summarise(done, failed, heatmaps)
    if failed:
        raise typer.Exit(1)


def _find_images(paths: list[str]) -> Iterator[str | bytes]:
    """Yield what is to be answered: paths as given, folders' images in order, stdin's bytes."""
    from pneumoscope.errors import PneumoscopeError
    from pneumoscope.images import is_image_file, is_visible

    for path in paths:
        if path == "-":
            yield sys.stdin.buffer.read()
        elif Path(path).is_dir():
            found = sorted(
                str(file)
                for file in Path(path).rglob("*")
                if is_visible(file.relative_to(path)) and file.is_file() and is_image_file(file)
            )
            if not found:
                raise PneumoscopeError(
                    f"{path} holds no image: JPEG, PNG, TIFF and DICOM (.dcm) are looked for."
                )
            yield from found
        else:
            yield path


def _summarise(done: int, failed: list[str], heatmaps: Path | None) -> None:
    note = f"{done - len(failed)} of {done} images answered"
    if failed:
        note += f", {len(failed)} left out: {failed[0]}" + (" …" if len(failed) > 1 else "")
    typer.echo(make_printable(note), err=True)
    if heatmaps is not None and done > len(failed):
        typer.echo(f"Heat-maps (influence, not the location of pneumonia): {heatmaps}", err=True)


class _Printer(Protocol):
    def print(self, finding: Finding) -> None:
        """Print one finding."""

    def close(self) -> None:
        """Print what comes last."""


class _JsonLines:
    def print(self, finding: Finding) -> None:
        # Escapes are JSON whatever the encoding of the output, and whatever bytes name a file.
        print(json.dumps(finding.to_record()), flush=True)  # noqa: T201

    def close(self) -> None:
        pass


class _Csv:
    def __init__(self) -> None:
        from pneumoscope.runtime import RECORD_FIELDS

        self._writer: Any = csv.DictWriter(sys.stdout, RECORD_FIELDS, lineterminator="\n")
        self._writer.writeheader()

    def print(self, finding: Finding) -> None:
        record = finding.to_record()
        self._writer.writerow(record | {"warnings": ";".join(record["warnings"])})
        sys.stdout.flush()

    def close(self) -> None:
        pass


class _Table:
    """Rows as they are made, so that a long list can be watched."""

    def __init__(self) -> None:
        self._warnings: set[str] = set()

    def print(self, finding: Finding) -> None:
        decision = finding.decision.value if finding.decision else finding.status.value.upper()
        rest = finding.message
        if finding.probability is not None:
            rest = f"{format_probability(finding.probability)}  {finding.path}"
        said = typer.style(f"{decision:<9}", fg=_COLOURS.get(decision, "green"), bold=True)
        typer.echo(f"{said}  {make_printable(rest)}")
        self._warnings |= {str(code) for code in finding.warnings}

    def close(self) -> None:
        for code in sorted(self._warnings):
            typer.echo(f"{typer.style('warning', fg='yellow')}    {_WARNINGS.get(code, code)}")
        typer.echo("Research use, not a diagnosis.")


_COLOURS = {"PNEUMONIA": "red", "REFER": "yellow", "ERROR": "magenta"}
_WARNINGS = {
    "phantom_model": "the model was trained on synthetic phantoms: for demonstrations only",
    "contaminated_model": "the model started from weights that have seen its test images",
}
_PRINTERS: dict[OutputFormat, type[_JsonLines] | type[_Csv] | type[_Table]] = {
    OutputFormat.JSONL: _JsonLines,
    OutputFormat.CSV: _Csv,
    OutputFormat.TABLE: _Table,
}

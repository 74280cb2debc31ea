"""`pneumoscope bundle`: look into a saved model, check that it is whole, and share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pneumoscope._probability import format_probability
from pneumoscope.cli._options import BundleArgument
from pneumoscope.cli.equipment import equip
from pneumoscope.cli.sharing import annotate, push

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from pneumoscope.bundle import Bundle

#: Numbers shown of each stage and part, with the words for them.
_METRICS = {
    "n": "images",
    "auc": "AUC",
    "accuracy": "accuracy",
    "recall": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
}


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    group = typer.Typer(
        no_args_is_help=True, help="Look into a saved model, check, equip or share it."
    )
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("equip")(equip)
    group.command("annotate")(annotate)
    group.command("push")(push)
    app.add_typer(group, name="bundle")


def show(
    bundle: BundleArgument,
    json: Annotated[
        bool, typer.Option("--json", help="Print the whole description as JSON.")
    ] = False,
) -> None:
    """Show what a bundle is: data, operating points, results, preprocessing, files."""
    from pneumoscope.bundle import read_bundle

    opened = read_bundle(bundle)
    if json:
        typer.echo(opened.info.model_dump_json(indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for warning in opened.info.warnings:
        console.print("[bold yellow]warning:[/]", _make_cell(warning))
    console.print(_describe(opened))
    console.print(_list_points(opened))
    for table in (_list_folds(opened), _list_metrics(opened.info.metrics)):
        if table.row_count:
            console.print(table)
    console.print(_list_files(opened))


def verify(bundle: BundleArgument) -> None:
    """Hash every file of a bundle again; exit with 2 where one is damaged or missing."""
    from pneumoscope.bundle import read_bundle
    from pneumoscope.errors import BundleError

    opened = read_bundle(bundle)
    problems = opened.verify()
    if problems:
        raise BundleError(f"{bundle}: {'; '.join(problems)}; take a fresh copy of the bundle.")
    files = opened.info.files
    size = sum(file.size for file in files.values())
    typer.echo(f"{bundle} is whole: {len(files) + 1} files, {_format_size(size)}, all as written.")


def _describe(bundle: Bundle) -> Table:
    info, table = bundle.info, _make_table("", "", title=bundle.info.name)
    spec, calibration = info.preprocessing, info.calibration
    table.show_header = False
    phantom = "synthetic phantoms: for demonstrations and tests only"
    _add_row(table, "made", info.created)
    _add_row(table, "trained on", phantom if info.data.phantom else ", ".join(info.data.sources))
    _add_row(
        table,
        "images",
        "; ".join(
            f"{split} {sum(row.values()):,} ({', '.join(f'{k} {v:,}' for k, v in row.items())})"
            for split, row in info.data.counts.items()
        ),
    )
    _add_row(
        table,
        "input",
        f"{spec.size}×{spec.size}, {spec.geometry.value}, {spec.resampler.value}, "
        f"normalised as {spec.normalisation.value}",
    )
    _add_row(
        table, "probability", f"sigmoid(logit / {calibration.temperature:g} + {calibration.bias:g})"
    )
    _add_row(table, "licence", info.licence.name if info.licence else "not stated")
    _add_row(table, "with", ", ".join(f"{k} {v}" for k, v in info.versions.items()))
    _add_row(table, "sha256", bundle.sha256)
    return table


def _list_points(bundle: Bundle) -> Table:
    table = _make_table(
        "operating point",
        "threshold",
        "chosen for",
        "sensitivity",
        "specificity",
    )
    for name, point in bundle.info.operating_points.items():
        decides = " (decides alone)" if name == bundle.info.decides else ""
        _add_row(
            table,
            f"{name}{decides}",
            format_probability(point.threshold),
            point.target,
            _format_number(point.sensitivity),
            _format_number(point.specificity),
        )
    return table


def _list_folds(bundle: Bundle) -> Table:
    from pneumoscope.bundle import FOLD_NUMBERS

    table = _make_table("blocks", "images", "AUC", *FOLD_NUMBERS[1:])
    found = bundle.info.read_block_folds()
    if found:
        for fold in found.folds:
            numbers = (_format_number(getattr(fold, name)) for name in FOLD_NUMBERS)
            _add_row(table, fold.name, _format_number(fold.n), *numbers)
        _add_row(
            table, "mean", "", *(_format_number(found.mean.get(name)) for name in FOLD_NUMBERS)
        )
    return table


def _list_metrics(metrics: dict[str, Any]) -> Table:
    table = _make_table("stage", "part", *_METRICS.values())
    for stage, parts in metrics.items():
        if stage == "block_folds" or not isinstance(parts, dict):  # "final" names a stage
            continue
        for part, numbers in parts.items():
            if isinstance(numbers, dict):
                _add_row(
                    table, stage, part, *(_format_number(numbers.get(key)) for key in _METRICS)
                )
    return table


def _list_files(bundle: Bundle) -> Table:
    table = _make_table("file", "size", "sha256")
    for name, file in bundle.info.files.items():
        _add_row(table, name, _format_size(file.size), f"{file.sha256[:16]}…")
    return table


def _make_table(*columns: str, title: str = "") -> Table:
    from rich import box
    from rich.table import Table

    heading = _make_cell(title) if title else None
    table = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _make_cell(text: str) -> Text:
    """Return text as it is: a bundle's words are neither markup nor orders to the terminal."""
    from rich.text import Text

    return Text("".join(char if char.isprintable() else "?" for char in text))


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*map(_make_cell, cells))


def _format_number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _format_size(size: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 1000 or unit == "MB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"

"""`pneumoscope recalibrate`: fit a bundle's calibration and thresholds to a place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope._probability import format_probability
from pneumoscope.cli._left_out import report_left_out
from pneumoscope.cli._options import (
    BundleArgument,
    EngineOption,
    LabelColumnOption,
    LayoutOption,
    PatientColumnOption,
    PositiveOption,
    QuietOption,
    SplitColumnOption,
    collection_options,
)

if TYPE_CHECKING:
    from pneumoscope.evidence import Comparison, Number

_ROWS = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "expected": "mean probability",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "referred": "referred",
}


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("recalibrate")(recalibrate)


def recalibrate(
    bundle: BundleArgument,
    data: Annotated[
        Path, typer.Argument(help="Labelled images of the place, unknown to the bundle.")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the new bundle.")],
    split: Annotated[
        str | None,
        typer.Option(help="`val`, `train`, `test` or `all`; val where there is one, else all."),
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="What rule_out is expected to reach.")
    ] = 0.975,
    specificity: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="What rule_in is expected to reach.")
    ] = 0.98,
    engine: EngineOption = "openvino",
    layout: LayoutOption = None,
    positive: PositiveOption = None,
    label_column: LabelColumnOption = "label",
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit a bundle's calibration and thresholds to a place, from a small labelled sample.

    The weights stay as they are, and so do the input gate and the population check: what they
    reject or refer, they go on to. The change is recorded in the new bundle and on its card. At
    least 10 cases of each class are needed; the command says what more would be worth. Numbers
    before and after are of images that did not fit what they are judged by.

    Example: `pneumoscope recalibrate bundled our_hospital/ --out our_bundle`
    """
    from pneumoscope._extras import require_extra

    require_extra("evidence", "polars", "scipy", "sklearn", purpose="Recalibrating a bundle")
    from pneumoscope.cli._progress import show_stages
    from pneumoscope.evidence import RecalibrationPlan, recalibrate_bundle

    plan = RecalibrationPlan(
        data=data,
        options=collection_options(layout, positive, label_column, patient_column, split_column),
        split=split,
        rule_out_sensitivity=sensitivity,
        rule_in_specificity=specificity,
        engine=engine,
    )
    with show_stages(quiet=quiet) as progress:
        made = recalibrate_bundle(bundle, out, plan, progress)
    for line in (*made.notes, *(f"Warning: {text}" for text in made.warnings)):
        if not quiet or line.startswith("Warning"):
            typer.echo(line, err=True)
    _print_comparison(made.comparison)
    points = made.bundle.info.operating_points
    low, high = (format_probability(points[name].threshold) for name in ("rule_out", "rule_in"))
    typer.echo(f"{out}: NORMAL below {low}, PNEUMONIA from {high} on, REFER between.")
    offered = ", ".join(("fp32", *made.bundle.info.precisions))
    typer.echo(f"Precisions: {offered}. The weights are those of {bundle}.")
    typer.echo("Research use, not a diagnosis.")
    report_left_out(made.excluded)


def _print_comparison(found: Comparison) -> None:
    typer.echo(
        f"On {found.n} images, {found.prevalence:.1%} pneumonias, each judged by a fit that it was "
        "no part of (95 % intervals; REFER counts as flagged):"
    )
    typer.echo(f"{'':17} {'before':22} {'after':22} change")
    for key, name in _ROWS.items():
        cells = (_format(found.before[key]), _format(found.after[key]))
        change = _format(found.change[key], sign="+")
        typer.echo(f"{name:17} {cells[0]:22} {cells[1]:22} {change}")
    typer.echo(f"{'AUC':17} {_format(found.auc)}, which no calibration moves")


def _format(number: Number, sign: str = "") -> str:
    if number.value is None:
        return "–"
    text = f"{number.value:{sign}z.3f}"
    if number.interval is None:
        return text
    low, high = number.interval
    return (
        f"{text} ({low:{sign}z.3f}–{high:{sign}z.3f})"
        if not sign
        else (f"{text} ({low:{sign}z.3f} to {high:{sign}z.3f})")
    )

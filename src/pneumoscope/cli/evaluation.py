"""`pneumoscope evaluate`: judge a bundle on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pneumoscope.cli._left_out import report_left_out
from pneumoscope.cli._options import (
    BundleArgument,
    EngineOption,
    LabelColumnOption,
    LayoutOption,
    PatientColumnOption,
    PositiveOption,
    PrecisionOption,
    QuietOption,
    SplitColumnOption,
    collection_options,
)


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("evaluate")(evaluate)


def evaluate(
    bundle: BundleArgument,
    data: Annotated[Path, typer.Argument(help="A folder, manifest, .npz or archive with labels.")],
    out: Annotated[Path, typer.Option(help="The folder for numbers, figures and the report.")],
    split: Annotated[
        str | None,
        typer.Option(help="`test`, `val`, `train` or `all`; test where there is one, else all."),
    ] = None,
    internal: Annotated[
        Path | None,
        typer.Option(
            help="An earlier evaluation of the same bundle at home, against which the drop on "
            "these images is reported."
        ),
    ] = None,
    engine: EngineOption = "openvino",
    precision: PrecisionOption = "fp32",
    layout: LayoutOption = None,
    positive: PositiveOption = None,
    label_column: LabelColumnOption = "label",
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    quiet: QuietOption = False,
) -> None:
    """Judge a bundle, as it decides, on any labelled images; nothing is re-tuned.

    Says when images were among those that the bundle was trained on. With --internal, the drop
    against an evaluation at home comes first.

    Example: `pneumoscope evaluate bundled other_hospital/ --out evaluation/`
    """
    from pneumoscope._extras import require_extra

    require_extra(
        "evidence", "polars", "sklearn", "matplotlib", "jinja2", "yaml", purpose="Evaluating"
    )
    from pneumoscope.cli._progress import show_progress
    from pneumoscope.evidence import evaluate_bundle

    with show_progress("Evaluating", quiet) as progress:
        result = evaluate_bundle(
            bundle,
            data,
            out,
            options=collection_options(
                layout, positive, label_column, patient_column, split_column
            ),
            split=split,
            engine=engine,
            precision=precision,
            internal=internal,
            progress=progress,
        )
    for line in (*result.notes, *(f"Warning: {text}" for text in result.warnings)):
        if not quiet or line.startswith("Warning"):
            typer.echo(line, err=True)
    if external := result.metrics.get("external"):
        _print_drops(external)
    found = result.metrics[result.stage][result.split]
    typer.echo(
        f"Missed {found['fn']} of {found['support_pneumonia']} pneumonias, "
        f"{found['fp']} false alarms on {found['support_normal']} normal images."
    )
    for key, name in (("auc", "AUC"), ("recall", "sensitivity"), ("specificity", "specificity")):
        interval = found["intervals"].get(key)  # none of an AUC from too few images
        said = f"  (95 % interval {interval[0]:.3f}–{interval[1]:.3f})" if interval else ""
        typer.echo(f"{name:12} {found[key]:.3f}{said}")
    if unseen := result.metrics[result.stage].get("unseen"):
        typer.echo(
            f"On the {unseen['n']} images that the bundle was not trained or chosen on, it missed "
            f"{unseen['fn']} of {unseen['support_pneumonia']}, with {unseen['fp']} false alarms."
        )
    typer.echo(f"Report: {result.out / 'report.html'}")
    typer.echo("Research use, not a diagnosis.")
    report_left_out(result.excluded)


def _print_drops(external: dict[str, Any]) -> None:
    typer.echo(
        f"Drop from {external['internal_n']} images at home ({external['internal_split']}) to "
        f"{external['external_n']} here, 95 % intervals:"
    )
    for row in external["drops"]:
        typer.echo(
            f"{row['title']:12} {row['drop_text']}: from {row['internal_text']} to "
            f"{row['external_text']}"
        )
    for note in external["notes"]:
        typer.echo(note)

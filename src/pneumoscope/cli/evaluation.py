"""`pneumoscope evaluate`: judge a bundle on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    engine: EngineOption = "openvino",
    precision: PrecisionOption = "fp32",
    layout: LayoutOption = None,
    positive: PositiveOption = None,
    label_column: LabelColumnOption = "label",
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention",
            help="Also ask whether the model looks at the lungs: answers with the lungs removed, "
            "influence inside them, heat-maps under random weights.",
        ),
    ] = False,
    attention_images: Annotated[
        int, typer.Option(min=20, help="Images that --attention uses at most.")
    ] = 500,
    quiet: QuietOption = False,
) -> None:
    """Judge a bundle, as it decides, on any labelled images; nothing is re-tuned.

    Says when images were among those that the bundle was trained on.

    Example: `pneumoscope evaluate bundled other_hospital/ --out evaluation/`
    """
    from pneumoscope._extras import require_extra

    require_extra(
        "evidence", "polars", "sklearn", "matplotlib", "jinja2", "yaml", purpose="Evaluating"
    )
    from pneumoscope.cli._progress import show_progress
    from pneumoscope.evidence import AttentionOptions, evaluate_bundle

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
            attention=AttentionOptions(most=attention_images) if attention else None,
            progress=progress,
        )
    for line in (*result.notes, *(f"Warning: {text}" for text in result.warnings)):
        if not quiet or line.startswith("Warning"):
            typer.echo(line, err=True)
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
    if result.attention is not None:
        typer.echo(f"Lungs: {result.attention.summary[0]}")
    typer.echo(f"Report: {result.out / 'report.html'}")
    typer.echo("Research use, not a diagnosis.")
    report_left_out(result.excluded)

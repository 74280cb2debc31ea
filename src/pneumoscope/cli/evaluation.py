"""`pneumoscope evaluate`: judge a bundle, or a model of others, on labelled images."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pneumoscope.cli._left_out import report_left_out
from pneumoscope.cli._options import (
    EngineOption,
    LabelColumnOption,
    LayoutOption,
    PatientColumnOption,
    PositiveOption,
    PrecisionOption,
    QuietOption,
    SeedOption,
    SplitColumnOption,
    collection_options,
)

if TYPE_CHECKING:
    from pneumoscope.evidence import EvaluationResult, Subject


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("evaluate")(evaluate)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A bundle, such as runs/NAME/bundle; `bundled`, the one in the box; or, with "
            "--description, a model of others: FILE.onnx, FILE.keras, FILE.h5, timm's weights "
            "(FILE.safetensors), or timm:NAME.",
        ),
    ],
    data: Annotated[Path, typer.Argument(help="A folder, manifest, .npz or archive with labels.")],
    out: Annotated[Path, typer.Option(help="The folder for numbers, figures and the report.")],
    description: Annotated[
        Path | None,
        typer.Option(help="YAML that says what a model of others takes and answers."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="`test`, `val`, `train` or `all`; test where there is one, else all."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="EARLIER",
            help="Compare with another model on the same images: the folder of an earlier "
            "evaluation, or its predictions.csv.",
        ),
    ] = None,
    subgroup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Also judge each group of this column of the manifest by itself; numbers are "
            "cut into thirds. Repeatable.",
        ),
    ] = None,
    prevalence: Annotated[
        list[float] | None,
        typer.Option(
            help="Share of pneumonia at which predictive values are given; 0.05, 0.2 and 0.5 "
            "without. Repeatable.",
        ),
    ] = None,
    calibrate_on: Annotated[
        str | None,
        typer.Option(
            help="`val` or `train`: fit calibration and thresholds of a model of others on that "
            "split, none of whose patients is judged."
        ),
    ] = None,
    internal: Annotated[
        Path | None,
        typer.Option(
            help="An earlier evaluation of the same bundle at home, against which the drop on "
            "these images is reported."
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Judge the same images under shifts, too; takes long."),
    ] = False,
    robustness_images: Annotated[
        int, typer.Option(min=2, help="Images for that at most; patients stay whole.")
    ] = 400,
    seed: SeedOption = 0,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also write the report as report.pdf (extra `pdf`).")
    ] = False,
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
        int, typer.Option(help="Images that --attention uses at most.")
    ] = 500,
    quiet: QuietOption = False,
) -> None:
    """Judge a bundle, or a model of others, on any labelled images.

    Nothing is tuned on what is judged. Says when images were among those that a bundle was trained
    on.

    With --internal, the drop against an evaluation of the same bundle at home comes first.

    `--robustness` asks what breaks it: noise, blur, tone, rotation and more, each at five
    strengths; `--precision bf16` is the quicker way.

    Examples: `pneumoscope evaluate bundled other_hospital/ --out evaluation/`

    Two models on the same images, by age:
    `pneumoscope evaluate new/bundle ward.csv --out new --compare old --subgroup age`

    A model of others:
    `pneumoscope evaluate theirs.onnx data/ --description theirs.yaml --out evaluation/`
    """
    from pneumoscope._extras import require_extra

    require_extra(
        "evidence", "polars", "sklearn", "matplotlib", "jinja2", "yaml", purpose="Evaluating"
    )
    if pdf:
        require_extra("pdf", "weasyprint", purpose="Writing a PDF")
    from pneumoscope.cli._progress import show_stages
    from pneumoscope.evidence import (
        AttentionOptions,
        Questions,
        RobustnessPlan,
        evaluate_subject,
    )

    subject = _open_subject(model, description, calibrate_on, engine, precision)
    for fact in subject.facts[:1] if not quiet else ():
        typer.echo(fact, err=True)
    with show_stages(quiet) as progress:
        shifting = partial(progress, "Shifting")
        plan = RobustnessPlan(robustness_images, seed, progress=shifting) if robustness else None
        questions = Questions(
            subgroups=tuple(subgroup or ()),
            earlier=compare,
            internal=internal,
            robustness=plan,
            attention=AttentionOptions(most=attention_images) if attention else None,
        )
        if prevalence:
            questions = dataclasses.replace(questions, prevalences=tuple(prevalence))
        result = evaluate_subject(
            subject,
            data,
            out,
            options=collection_options(
                layout, positive, label_column, patient_column, split_column
            ),
            split=split,
            calibrate_on=calibrate_on,
            questions=questions,
            progress=partial(progress, "Evaluating"),
        )
    if pdf:
        from pneumoscope.evidence.report.printing import print_report

        print_report(result.out / "report.html", result.out / "report.pdf")
    _print_result(result, quiet)


def _open_subject(
    model: str,
    description: Path | None,
    calibrate_on: str | None,
    engine: str,
    precision: str,
) -> Subject:
    """Return what is to be judged, before any image is read."""
    from pneumoscope.errors import ModelError
    from pneumoscope.evidence import (
        describe_bundle,
        describe_foreign,
        is_foreign,
        open_model,
        read_description,
    )
    from pneumoscope.runtime import find_bundle

    if not is_foreign(model):
        for flag, value in (("--description", description), ("--calibrate-on", calibrate_on)):
            if value is not None:
                raise ModelError(
                    f"{flag} goes with a model of others (.onnx, .keras, .h5, .safetensors, "
                    f"timm:NAME), found {model}: a bundle describes and calibrates itself."
                )
        return describe_bundle(find_bundle(model), engine=engine, precision=precision)
    if description is None:
        raise ModelError(
            f"{model} is no bundle: say with --description FILE.yaml what it takes and answers; "
            "docs/how-to/judge-another-model.md has examples."
        )
    if precision not in {"fp32", "auto"}:
        raise ModelError(f"Models of others are judged in fp32, found --precision {precision}.")
    return describe_foreign(
        open_model(model, read_description(description), folder=description.parent, engine=engine)
    )


def _print_result(result: EvaluationResult, quiet: bool) -> None:
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
    if shifted := found.get("robustness"):
        typer.echo(shifted["sentence"])
    if unseen := result.metrics[result.stage].get("unseen"):
        typer.echo(
            f"On the {unseen['n']} images that the bundle was not trained or chosen on, it missed "
            f"{unseen['fn']} of {unseen['support_pneumonia']}, with {unseen['fp']} false alarms."
        )
    if result.comparison:
        typer.echo(result.comparison["sentence"])
    if looked := found.get("attention"):
        typer.echo(f"Lungs: {looked[0]}")
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

"""`pneumoscope train`: from labelled images to a run folder with a report and a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pneumoscope.cli._cross_validation import print_cross_validation
from pneumoscope.cli._left_out import report_left_out
from pneumoscope.cli._options import (
    LabelColumnOption,
    LayoutOption,
    PatientColumnOption,
    PositiveOption,
    QuietOption,
    SeedOption,
    SplitColumnOption,
    collection_options,
    is_given,
    refuse_settings,
)

if TYPE_CHECKING:
    from pneumoscope.training import TrainingResult


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("train")(train)


def train(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(help="A folder, manifest, .npz or archive; not needed with --resume."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run folder to make, such as runs/first.")] = Path(
        "runs/latest"
    ),
    recipe: Annotated[
        str, typer.Option(help="`classic`, `robust`, or a YAML file of your own.")
    ] = "classic",
    weights: Annotated[
        str,
        typer.Option(
            help="`auto`, `imagenet`, `bundled`, `none`, or a PATH to a state dict or bundle."
        ),
    ] = "auto",
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "auto",
    epochs: Annotated[
        int | None, typer.Option(help="At most this many epochs in every stage.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any field of the recipe, such as baseline.epochs=3."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Cross-validate: test every image once, each fold a run in --out."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Repeat --folds with so many seeds, from --seed on.")
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")
    ] = False,
    allow_contamination: Annotated[
        bool,
        typer.Option(
            "--allow-contamination",
            help="Take starting weights that have seen test images; every report will say so.",
        ),
    ] = False,
    allow_leakage: Annotated[
        bool,
        typer.Option(
            "--allow-leakage",
            help="Take a split with patients or copies of images on both sides; every report will "
            "say so.",
        ),
    ] = False,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Log to the server that MLFLOW_TRACKING_URI names.")
    ] = False,
    layout: LayoutOption = None,
    positive: PositiveOption = None,
    label_column: LabelColumnOption = "label",
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train a detector: data in; weights, curves, numbers and a report out.

    `classic` trains a head on a frozen backbone, then its top layers. `robust` trains all layers
    with mild augmentation, for `--weights none`. Patients never straddle train, val and test;
    thresholds are chosen on val. Ctrl-C stops cleanly, `--resume` goes on. `--folds 5 --seeds 3`
    cross-validates: 15 runs, with mean and spread, and all images judged out of fold.

    Example: `pneumoscope train data/chest_xray --out runs/first --recipe robust --weights none`
    """
    from pneumoscope._extras import require_extra

    require_extra("train", "torch", "torchvision", "polars", "onnx", purpose="Training")
    from pneumoscope import training
    from pneumoscope.cli._training_display import TrainingDisplay

    request = None
    if data is not None:
        request = training.TrainingRequest(
            data=data,
            out=out,
            recipe=training.load_recipe(recipe, settings or (), epochs),
            weights=weights,
            seed=seed,
            device=device,
            options=collection_options(
                layout, positive, label_column, patient_column, split_column
            ),
            allow_contamination=allow_contamination,
            allow_leakage=allow_leakage,
            mlflow=mlflow,
        )
    if request is None:
        if not resume:
            raise typer.BadParameter("name the data to train on, or add --resume.")
        refuse_settings(context)
    if folds is None and seeds > 1:
        raise typer.BadParameter("--seeds repeats a cross-validation: add --folds.")
    is_crossed = training.CrossValidationFolder(out).config.is_file()
    if resume and request is not None and folds is None and is_crossed:
        raise typer.BadParameter(
            f"{out} holds a cross-validation: add its --folds, or give --out and --resume alone."
        )
    plan = None
    if request is not None and folds is not None:
        plan = training.CrossValidationRequest(request, folds, seeds)
    moved = device if is_given(context, "device") else None
    if plan or (request is None and is_crossed):
        with TrainingDisplay(quiet=quiet) as display:
            if plan and not resume:
                crossed = training.cross_validate(plan, display)
            else:
                crossed = training.resume_cross_validation(out, display, plan, device=moved)
        print_cross_validation(crossed)
        report_left_out(crossed.excluded)
        return
    with TrainingDisplay(quiet=quiet) as display:
        if request and not resume:
            result = training.train(request, display)
        else:
            result = training.resume(out, display, request, device=moved)
    _print_result(result)
    report_left_out(result.excluded)


def _print_result(result: TrainingResult) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    endings = []
    parts = result.metrics[next(iter(result.stages))]
    split = "test" if "test" in parts else "val"
    table = Table(
        title=f"On the {'test' if split == 'test' else 'validation'} split (95 % intervals)",
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in ("stage", "AUC", "accuracy", "sensitivity", "specificity", "missed"):
        table.add_column(column, overflow="fold")  # an interval is never cut, in no width
    for stage, ending in result.stages.items():
        found = result.metrics[stage][split]
        numbers = [_show(found, name) for name in ("auc", "accuracy", "recall", "specificity")]
        missed = f"{found['fn']} of {found['fn'] + found['tp']}"
        table.add_row(stage, *numbers, missed)
        endings.append(f"{stage}: {ending}.")
    console.print(table)
    for ending in endings:
        console.print(ending, soft_wrap=True, highlight=False)
    folder = result.folder
    for name, path in (("report", folder.report), ("bundle", folder.bundle), ("run", folder.path)):
        console.print(f"{name:7} {path}", soft_wrap=True, highlight=False)
    console.print("Research use, not a diagnosis.")


def _show(metrics: dict[str, object], name: str) -> str:
    value = metrics[name]
    text = f"{value:.3f}" if isinstance(value, float) else "–"
    intervals = metrics.get("intervals")
    if isinstance(intervals, dict) and name in intervals:
        low, high = intervals[name]
        text += f" ({low:.3f}–{high:.3f})"
    return text

"""`pneumoscope pretrain`: a backbone from images alone, without their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.cli._options import (
    LayoutOption,
    PatientColumnOption,
    QuietOption,
    SeedOption,
    SplitColumnOption,
    collection_options,
    refuse_settings,
)


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.command("pretrain")(pretrain)


def pretrain(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(help="A folder, manifest, .npz or archive; not needed with --resume."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to make, such as runs/backbone.")] = Path(
        "runs/backbone"
    ),
    epochs: Annotated[int, typer.Option(min=1, help="How often every image is seen.")] = 20,
    size: Annotated[int, typer.Option(min=32, help="Side of the images in pixels.")] = 128,
    batch_size: Annotated[
        int, typer.Option(min=2, help="Images a step; each is told from all others of its batch.")
    ] = 64,
    learning_rate: Annotated[
        float, typer.Option(min=0, max=1, help="At the peak of one cycle.")
    ] = 1e-3,
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted pretraining in --out.")
    ] = False,
    layout: LayoutOption = None,
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    quiet: QuietOption = False,
) -> None:
    """Pretrain a backbone without labels, for `train --weights OUT/backbone.safetensors`.

    No label is looked at: folders of one class or of many, a folder of images alone, or a table
    without labels will do. The network learns to know an image again under another look (SimCLR).
    Where the data is split, only `train` is used; the file remembers its images, so that `train`
    refuses it where one of them is to be tested on.

    Example: `pneumoscope pretrain split.csv --out runs/backbone`
    """
    from pneumoscope._extras import require_extra

    require_extra("train", "torch", "torchvision", "polars", "onnx", purpose="Pretraining")
    from pneumoscope import training
    from pneumoscope.cli._training_display import TrainingDisplay

    if data is not None:
        request = training.PretrainingRequest(
            data=data,
            out=out,
            options=collection_options(
                layout, patient_column=patient_column, split_column=split_column
            ),
            epochs=epochs,
            size=size,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            device=device,
        )
    elif resume:
        refuse_settings(context)
        request = training.read_pretraining(out, device)
    else:
        raise typer.BadParameter("name the data to learn from, or add --resume.")
    with TrainingDisplay(quiet=quiet) as display:
        result = training.pretrain(request, display, resume=resume)
    typer.echo(
        f"Pretrained on {result.images} images, labels unseen; in the last epoch "
        f"{result.agreement:.0%} of their looks were known again."
    )
    typer.echo(f"Next, on labelled images: pneumoscope train DATA --weights {result.backbone}")

"""Options that mean the same in every command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.datasets import CollectionOptions


class LayoutName(StrEnum):
    """The layouts of a collection, as `datasets.Layout` has them."""

    KAGGLE = "kaggle"
    REORGANIZED = "reorganized"
    FOLDERS = "folders"
    MANIFEST = "manifest"
    NPZ = "npz"


LayoutOption = Annotated[
    LayoutName | None,
    typer.Option("--layout", help="How the data lies on disk; found out where it is not said."),
]
PositiveOption = Annotated[
    str | None,
    typer.Option(help="The class that is the disease, where it is not called PNEUMONIA."),
]
LabelColumnOption = Annotated[str, typer.Option(help="Column of a manifest that holds the label.")]
PatientColumnOption = Annotated[
    str | None, typer.Option(help="Column that holds the patient; `patient` if it exists.")
]
SplitColumnOption = Annotated[
    str | None, typer.Option(help="Column that holds train, val or test; `split` if it exists.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Where all randomness starts.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print results only.")]


def _find_bundle(path: Path | None) -> Path | None:
    """Return the folder of the model in the box for its name, every other path as it is."""
    if path is None:
        return None  # an option that was left out; the library knows what that means
    from pneumoscope.runtime import find_bundle

    return find_bundle(path)


BundleArgument = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        callback=_find_bundle,
        help="A saved model, such as runs/NAME/bundle, or `bundled`: the one in the box.",
    ),
]
BundleOption = Annotated[
    Path | None,
    typer.Option(callback=_find_bundle, help="The bundle to use; the model in the box by default."),
]
EngineOption = Annotated[str, typer.Option(help="`openvino` or `onnxruntime`.")]
PrecisionOption = Annotated[
    str,
    typer.Option(
        help="Arithmetic of the forward pass: `fp32` (the reference), `bf16`, `int8`, or `auto`: "
        "the fastest that the bundle offers and this processor speeds up."
    ),
]
RecordOption = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="DIR",
        help="Folder of the record; PNEUMOSCOPE_RECORD, or the user's own, by default.",
    ),
]
LogHeadOption = Annotated[
    Path | None,
    typer.Option(
        "--log-head",
        metavar="FILE",
        help="Where the log's last hash is kept too, best where the database's owner cannot write; "
        "PNEUMOSCOPE_LOG_HEAD by default.",
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="`postgresql://USER:PASSWORD@HOST/NAME`; PNEUMOSCOPE_DATABASE, or SQLite within the "
        "folder, by default.",
    ),
]


def collection_options(
    layout: LayoutName | None,
    positive: str | None = None,
    label_column: str = "label",
    patient_column: str | None = None,
    split_column: str | None = None,
) -> CollectionOptions:
    """Return what was said about a collection, as the library takes it."""
    from pneumoscope.datasets import CollectionOptions, Layout

    return CollectionOptions(
        layout=Layout(layout.value) if layout else None,
        positive=positive,
        label_column=label_column,
        patient_column=patient_column,
        split_column=split_column,
    )


def refuse_settings(context: typer.Context) -> None:
    """Without the data, `--resume` stands alone: a run goes on as it was started."""
    for name in sorted(set(context.params) - {"out", "resume", "device", "quiet"}):
        if is_given(context, name):
            raise typer.BadParameter(
                "--resume goes on as the run was started: give the whole command again, or "
                "--out, --device and --quiet alone."
            )


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether a person gave this option, rather than its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"

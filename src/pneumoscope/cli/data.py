"""`pneumoscope data`: fetch, audit, split, and draw images to train on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.cli._left_out import make_printable, report_left_out
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
)

data = typer.Typer(no_args_is_help=True, help="Fetch, audit, split and draw images to train on.")


class GroupingName(StrEnum):
    """What a split may not tear apart."""

    PATIENT = "patient"
    BLOCK = "block"
    SITE = "site"
    IMAGE = "image"


GroupOption = Annotated[
    GroupingName,
    typer.Option(
        help="`patient` keeps a patient and near-duplicates together, `block` holds whole ranges "
        "of acquisition numbers out, `site` whole sites (column `site` or `source`), `image` is "
        "the widespread random split."
    ),
]


class LinkName(StrEnum):
    """How files come to their new place."""

    HARD = "hard"
    SYM = "sym"
    COPY = "copy"


def register(app: typer.Typer) -> None:
    """Add this group's commands to the root command."""
    app.add_typer(data, name="data")


@data.command()
def fetch(
    out: Annotated[Path, typer.Option(help="Where the data set goes.")] = Path("data"),
    archive: Annotated[
        Path | None, typer.Option(help="An archive that you have downloaded already.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Get the Kaggle set paultimothymooney/chest-xray-pneumonia (1.2 GB, CC BY 4.0).

    Kaggle wants an account: put a token into ~/.kaggle/kaggle.json (kaggle.com, Settings, API). A
    broken download is resumed. Offline, pass --archive, or draw phantoms.

    Example: `pneumoscope data fetch --out data/`
    """
    from pneumoscope._extras import require_extra
    from pneumoscope.cli._progress import show_progress

    require_extra("evidence", "polars", "scipy", purpose="Preparing data")
    from pneumoscope.datasets import fetch_archive, fetch_kaggle

    with show_progress("Fetching", quiet, in_bytes=True) as progress:
        if archive is not None:
            folder = fetch_archive(archive, out, progress=progress)
        else:
            folder = fetch_kaggle(out, progress=progress)
    typer.echo(f"The data set is in {folder}.")
    typer.echo(f"Next: pneumoscope data reorganize {folder}")


@data.command()
def reorganize(
    source: Annotated[Path, typer.Argument(help="A folder, manifest, .npz or archive.")],
    destination: Annotated[Path, typer.Argument(help="The folder to make.")] = Path(
        "data/chest_xray_reorganized"
    ),
    ratios: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "80/10/10",
    group: GroupOption = GroupingName.PATIENT,
    seed: SeedOption = 0,
    link: Annotated[
        LinkName, typer.Option(help="How files come to their new place.")
    ] = LinkName.HARD,
    limit: Annotated[
        int | None, typer.Option(help="Take a part of about so many images, for a quick try.")
    ] = None,
    layout: LayoutOption = None,
    positive: PositiveOption = None,
    label_column: LabelColumnOption = "label",
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    quiet: QuietOption = False,
) -> None:
    """Split a collection into train, val and test folders; no patient is in two of them.

    Makes DST/{train,val,test}/{NORMAL,PNEUMONIA} and a manifest. The source is left as it is, and
    running it twice changes nothing.

    Example: `pneumoscope data reorganize data/chest_xray data/split --ratios 80/10/10`
    """
    from pneumoscope._extras import require_extra
    from pneumoscope.cli._progress import show_progress

    require_extra("evidence", "polars", "scipy", purpose="Preparing data")
    from pneumoscope import datasets

    with show_progress("Reading images", quiet) as progress:
        result = datasets.reorganize(
            source,
            destination,
            options=collection_options(
                layout, positive, label_column, patient_column, split_column
            ),
            ratios=datasets.parse_ratios(ratios),
            grouping=datasets.Grouping(group.value),
            seed=seed,
            link=datasets.LinkMode(link.value),
            limit=limit,
            progress=progress,
        )
    if not quiet:
        for note in result.notes:
            typer.echo(note, err=True)
    _print_counts(result.counts)
    typer.echo(str(result.destination))
    report_left_out(result.excluded)


@data.command()
def split(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A folder, manifest, .npz or archive.")],
    out: Annotated[Path, typer.Option(help="The split file to make, a CSV manifest.")],
    group: GroupOption = GroupingName.PATIENT,
    ratios: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "80/10/10",
    folds: Annotated[
        int | None, typer.Option(help="Save so many folds instead, for `train --folds`.")
    ] = None,
    seed: SeedOption = 0,
    layout: LayoutOption = None,
    positive: PositiveOption = None,
    label_column: LabelColumnOption = "label",
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    quiet: QuietOption = False,
) -> None:
    """Draw a split once and save it as a table; every command takes the table as data.

    No file is moved. A saved split is taken as it is, never drawn again, and never overwritten.

    Example: `pneumoscope data split data/chest_xray --out split.csv --group block`
    """
    from pneumoscope._extras import require_extra
    from pneumoscope.cli._progress import show_progress

    require_extra("evidence", "polars", "scipy", purpose="Preparing data")
    from pneumoscope import datasets

    if folds is not None and is_given(context, "ratios"):
        raise typer.BadParameter("--ratios cuts once, --folds so many times: give one of them.")
    with show_progress("Reading images", quiet) as progress:
        result = datasets.save_split(
            source,
            out,
            options=collection_options(
                layout, positive, label_column, patient_column, split_column
            ),
            ratios=datasets.parse_ratios(ratios),
            folds=folds,
            grouping=datasets.Grouping(group.value),
            seed=seed,
            progress=progress,
        )
    if not quiet:
        for note in result.notes:
            typer.echo(note, err=True)
    _print_counts(result.counts)
    typer.echo(str(result.file))
    report_left_out(result.excluded)


@data.command()
def audit(
    source: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder, manifest, .npz or archive.")
    ],
    out: Annotated[Path, typer.Option(help="The folder for audit.html and audit.json.")] = Path(
        "audit"
    ),
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="A CSV of out-of-fold predictions (path, probability, fold) that judge the labels "
            "in place of the audit's own judge."
        ),
    ] = None,
    seed: SeedOption = 0,
    layout: LayoutOption = None,
    positive: PositiveOption = None,
    label_column: LabelColumnOption = "label",
    patient_column: PatientColumnOption = None,
    split_column: SplitColumnOption = None,
    quiet: QuietOption = False,
) -> None:
    """Look for what would make a result from this data invalid, or too good.

    Patients and copies in two splits, labels that are likely wrong, shortcuts (how well size,
    compression or brightness alone tell the label), drift between splits. Ends with 1 where a
    patient or a copy of an image is in two splits.

    Example: `pneumoscope data audit data/chest_xray --out audit/`
    """
    from pneumoscope._extras import require_extra
    from pneumoscope.cli._progress import show_stages

    require_extra(
        "evidence", "polars", "sklearn", "matplotlib", "jinja2", "cleanlab", purpose="Auditing"
    )
    from pneumoscope.evidence import audit_collection

    with show_stages(quiet) as progress:
        found = audit_collection(
            source,
            out,
            options=collection_options(
                layout, positive, label_column, patient_column, split_column
            ),
            predictions=predictions,
            seed=seed,
            progress=progress,
        )
    if not quiet:
        for note in found.notes:
            typer.echo(make_printable(note), err=True)
    for line in found.cautions:
        typer.echo(make_printable(line))
    typer.echo(str(out / "audit.html"))
    if found.reasons:
        typer.echo(make_printable(f"Must not be used as it is: {' '.join(found.reasons)}"))
        raise typer.Exit(1)
    typer.echo("May be used: no named patient, and no copy of an image, is in two splits.")


@data.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    n: Annotated[int, typer.Option("-n", help="Number of images, half with pneumonia.")] = 600,
    seed: SeedOption = 0,
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 224,
    quiet: QuietOption = False,
) -> None:
    """Draw synthetic chest radiographs with known lesions, for demonstrations and tests only.

    Example: `pneumoscope data phantom data/phantoms -n 600`
    """
    from pneumoscope._extras import require_extra
    from pneumoscope.cli._progress import show_progress

    require_extra("evidence", "polars", "scipy", purpose="Drawing phantoms")
    from pneumoscope.datasets.phantom import write_phantoms

    with show_progress("Drawing phantoms", quiet) as progress:
        result = write_phantoms(folder, n, seed, size=size, progress=progress)
    said = ", ".join(f"{count} {label}" for label, count in result.counts.items())
    typer.echo(f"{said} in {result.folder}" + ("" if result.changed else ", as before"))
    typer.echo("Synthetic: for demonstrations and tests only.")


def _print_counts(counts: dict[str, dict[str, int]]) -> None:
    width = max(6, *map(len, counts))
    typer.echo(f"{'':{width}} {'NORMAL':>8} {'PNEUMONIA':>10}")
    for part, of in counts.items():
        typer.echo(f"{part:{width}} {of['NORMAL']:>8} {of['PNEUMONIA']:>10}")

"""Which images are judged, and what is known of them beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pneumoscope.bundle import ImageHashes
from pneumoscope.datasets import (
    SPLITS,
    Collection,
    Layout,
    count_images,
    count_straddling,
    read_columns,
)
from pneumoscope.errors import DataError
from pneumoscope.evidence.quality import QUALITY
from pneumoscope.evidence.summary import DERIVED, read_column, tells_apart

#: Columns that an evaluation makes; one of that name in a manifest is something else.
_MADE = frozenset(
    {"sha256", "phash", "group", "stage", "logit", "probability", "decision", "seen", "rejection",
     "outside_population", *QUALITY}
)  # fmt: skip

#: Columns of every manifest that name single images, or hold what is to be found out.
_NO_GROUPS = frozenset({"path", "copies", "label"})


def mark_seen(frame: pl.DataFrame, training_images: ImageHashes | None) -> pl.DataFrame:
    """Add `seen`, where it is known which images the model was trained on."""
    if training_images is None:
        return frame
    images = ImageHashes(tuple(frame["sha256"]), tuple(frame["phash"]))
    seen = pl.Series("seen", training_images.find(images))
    # A patient, or a copy, of whom the model saw one image is no stranger to it.
    return frame.with_columns(seen).with_columns(pl.col("seen").any().over("group"))


def join_columns(
    frame: pl.DataFrame, collection: Collection, wanted: Sequence[str]
) -> pl.DataFrame:
    """Add columns of the manifest that a person brought, where the frame has none of that name.

    Raises
    ------
    DataError
        A column has the name of one that the evaluation makes itself, or is nowhere.
    """
    missing = [name for name in wanted if name not in frame.columns or name in _MADE]
    if not missing:
        return frame
    is_table = collection.layout is Layout.MANIFEST
    brought = read_columns(collection.root, missing) if is_table else frame.select("path")
    taken = [name for name in brought.columns if name in _MADE]
    if taken:
        raise DataError(
            f"The column {taken[0]!r} of {collection.root.name} has a name that the evaluation "
            "gives itself: call it otherwise to make subgroups of it."
        )
    found = {*frame.columns, *brought.columns, *QUALITY, *DERIVED}
    for name in missing:
        if name not in found:
            raise DataError(
                f"There is no column {name!r} to make subgroups of: "
                f"{_list_choices(frame, collection)}."
            )
    return frame.join(brought, on="path", how="left")


def _list_choices(frame: pl.DataFrame, collection: Collection) -> str:
    """Say which columns make subgroups: a person's own first, then those that every image has."""
    known = [name for name in (*DERIVED, *frame.columns) if name not in _MADE | _NO_GROUPS]
    usual = ", ".join([*QUALITY, *(name for name in known if _makes_groups(frame, name))])
    if collection.layout is not Layout.MANIFEST:
        return f"every image has {usual}; bring others in a CSV or Parquet manifest"
    brought = read_columns(collection.root)
    own = [name for name in brought.columns if name not in {*frame.columns, *_MADE}]
    said = ", ".join(name for name in own if _makes_groups(brought, name))
    return (
        f"{collection.root.name} has {said or 'none of its own that tells groups apart'}, and "
        f"every image has {usual}; choose one of these, or add the column"
    )


def _makes_groups(frame: pl.DataFrame, name: str) -> bool:
    values = read_column(frame, name)
    return values is not None and tells_apart(values)


def choose_split(
    frame: pl.DataFrame, layout: Layout, wanted: str | None
) -> tuple[pl.DataFrame, str, str]:
    """Return the rows that are judged, the split's name, and how that is said.

    Raises
    ------
    DataError
        No such split, or it has one class only.
    """
    present = [name for name in SPLITS if name in frame["split"].drop_nulls().to_list()]
    if wanted not in {None, "all", *SPLITS}:
        raise DataError(f"--split takes train, val, test or all, found {wanted!r}.")
    split = wanted or ("test" if "test" in present else "all")
    rows = frame if split == "all" else frame.filter(pl.col("split") == split)
    if rows["label"].n_unique() < 2:
        counts = count_labels(rows)
        raise DataError(
            f"The split {split!r} has {counts['NORMAL']} NORMAL and "
            f"{counts['PNEUMONIA']} PNEUMONIA images, both are needed; the data has "
            f"{', '.join(present) or 'no splits'}: choose with --split, or --split all."
        )
    said = "all images" if split == "all" else f"the split {split!r}"
    return rows, split, f"Judged on {said}: {rows.height} of {frame.height} images."


def list_warnings(frame: pl.DataFrame) -> list[str]:
    """Say what makes the numbers of these images no result."""
    warnings = []
    if "phantom" in frame["source"].to_list():
        warnings.append("These images are synthetic phantoms: for demonstrations and tests only.")
    seen = int(frame["seen"].sum()) if "seen" in frame.columns else 0
    if seen:
        warnings.append(
            f"{seen} of {frame.height} images ({seen / frame.height:.0%}) were among those that "
            "the bundle was trained or chosen on, or are of the same patients: the numbers are too "
            "good."
        )
    return warnings


def count_labels(frame: pl.DataFrame) -> dict[str, int]:
    """Return label → images."""
    counts = count_images(frame.with_columns(pl.lit("test").alias("split")))
    return counts["test"]


def warn_of_straddling(frame: pl.DataFrame) -> list[str]:
    """Say so where patients have images in several splits of the data, all rows of `frame`."""
    found = count_straddling(frame)
    if not found:
        return []
    return [
        f"{len(found)} patients have images in several splits of the data, such as "
        f"{next(iter(found))}: what was trained by these splits has seen people who are judged "
        "here; see `pneumoscope data audit`."
    ]

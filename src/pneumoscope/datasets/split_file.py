"""The split file: a CSV manifest with `split` or `fold`, drawn once and reused by every command."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pneumoscope._files import find_cache_folder, write_atomically
from pneumoscope.datasets.collection import open_collection
from pneumoscope.datasets.dealing import Grouping
from pneumoscope.datasets.folds import assign_folds, list_folds
from pneumoscope.datasets.items import LABELS, SPLITS, CollectionOptions, Skipped
from pneumoscope.datasets.leakage import describe_leak
from pneumoscope.datasets.manifest import build_manifest
from pneumoscope.datasets.splits import (
    Ratios,
    assign_splits,
    check_splits,
    describe_replaced,
    describe_sites,
)
from pneumoscope.errors import DataError

#: The columns of the file before `split` or `fold`; `open_collection` reads them all.
_COLUMNS = ("path", "label", "patient", "subtype", "source")


@dataclass(frozen=True)
class SavedSplit:
    """A split file, and what should be said about it."""

    file: Path
    counts: dict[str, dict[str, int]]
    """Split or fold → label → number of images."""
    notes: tuple[str, ...]
    excluded: tuple[Skipped, ...]
    changed: bool
    """False where the same was there already."""


def save_split(
    source: Path,
    file: Path,
    *,
    options: CollectionOptions | None = None,
    ratios: Ratios = (80, 10, 10),
    folds: int | None = None,
    grouping: Grouping = Grouping.PATIENT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SavedSplit:
    """Draw a split, or so many folds, of a collection and save it.

    Raises
    ------
    DataError
        The file holds something else or is no CSV, or the data make no such split.
    """
    if file.suffix.lower() != ".csv" or file.is_dir():
        raise DataError(f"{file} is no name for a split file: call it NAME.csv.")
    collection = open_collection(source, options)
    manifest = build_manifest(collection, progress=progress)
    if folds is None:
        frame, part = assign_splits(manifest.frame, ratios=ratios, grouping=grouping, seed=seed), ""
        check_splits(frame, ratios)
        column, parts = "split", [s for s, ratio in zip(SPLITS, ratios, strict=True) if ratio]
    else:
        frame = assign_folds(manifest.frame, folds, grouping=grouping, seed=seed)
        column, parts, part = "fold", list_folds(frame), "fold "
    notes = [*collection.notes, *manifest.notes, *describe_replaced(manifest.frame)]
    if folds is None and grouping is Grouping.SITE:
        notes += describe_sites(frame)
    if folds is None and grouping is Grouping.IMAGE:
        notes.append(describe_leak(frame))
    elif grouping is Grouping.IMAGE:
        notes.append("Folds at random by image: patients straddle them, and numbers are too good.")
    if collection.root.resolve().is_relative_to(find_cache_folder().resolve()):
        notes.append(
            "The split names images in the cache, which comes and goes: unpack the archive "
            "yourself for a split that lasts."
        )
    changed = write_split_file(frame, file, column)
    if not changed:
        notes.append(f"{file} holds this split already: nothing was changed.")
    counts = {
        f"{part}{name}": {
            label: frame.filter((pl.col(column) == name) & (pl.col("label") == label)).height
            for label in LABELS
        }
        for name in parts
    }
    excluded = (*collection.skipped, *manifest.excluded)
    return SavedSplit(file, counts, tuple(notes), excluded, changed)


def write_split_file(frame: pl.DataFrame, file: Path, column: str) -> bool:
    """Write path, label, patient, subtype, source and `column`; return whether it was not there.

    Paths below the file's folder are stored relative to it. Rows are sorted by path.

    Raises
    ------
    DataError
        The file is there and holds something else.
    """
    folder = f"{file.parent.absolute()}{os.sep}"
    stored = frame.select(*_COLUMNS, column).sort("path")
    text = stored.with_columns(pl.col("path").str.strip_prefix(folder)).write_csv()
    if file.exists():
        if file.read_bytes() == text.encode():
            return False
        raise DataError(
            f"{file} holds another split: a saved split is never overwritten, choose another --out "
            "or remove it."
        )
    write_atomically(file, text)
    return True


def read_folds(file: Path) -> dict[str, str]:
    """Return path → fold of a file that `write_split_file` wrote.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    try:
        frame = pl.read_csv(file, infer_schema=False, glob=False)
        folder = file.parent.absolute()
        return {str(folder / path): fold for path, fold in frame.select("path", "fold").iter_rows()}
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file} is not a readable split file.") from error

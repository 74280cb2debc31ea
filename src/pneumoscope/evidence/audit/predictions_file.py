"""Predictions that people bring, to judge labels by a stronger model than the audit's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.errors import DataError

_NEEDED = ("path", "probability")


@dataclass(frozen=True)
class BroughtPredictions:
    """Probabilities of pneumonia for the rows of a manifest, NaN where the file has none."""

    probabilities: NDArray[np.float64]
    notes: tuple[str, ...]


def read_predictions(file: Path, paths: Sequence[str]) -> BroughtPredictions:
    """Match a CSV with the columns path and probability to the images of a manifest.

    Paths match as they stand, or by the longest end that names one image only. Of a run folder's
    `predictions.csv` only validation and test count, of the last stage: whatever was trained on saw
    its label. A column `fold` says that all rows are out of fold.

    Raises
    ------
    DataError
        The file is unreadable, lacks a column, holds what is no probability, names an image twice,
        or none of the images.
    """
    table = _load(file)
    notes = []
    if "stage" in table.columns and table["stage"].n_unique() > 1:
        last = table["stage"][-1]
        table = table.filter(pl.col("stage") == last)
        notes.append(f"Of the stages in {file.name}, the last one, {last!r}, was taken.")
    if "fold" not in table.columns:
        if "split" not in table.columns:
            raise DataError(
                f"{file} says nowhere that its predictions are out of fold: a column `fold`, or "
                "`split` with val or test, is needed, since a model that saw a label cannot judge "
                "it."
            )
        seen = ~table["split"].is_in(["val", "test"])
        table = table.filter(~seen)
        if seen.sum():
            notes.append(f"{seen.sum()} rows of training images were passed over.")
    places = _match(file, table["path"].to_list(), paths)
    probabilities = np.full(len(paths), np.nan)
    for place, value in zip(places, table["probability"], strict=True):
        if place is not None:
            if not np.isnan(probabilities[place]):
                raise DataError(f"{file} names {paths[place]} twice: one row an image is needed.")
            probabilities[place] = value
    known = int((~np.isnan(probabilities)).sum())
    if not known:
        raise DataError(f"{file} names none of the {len(paths)} images: compare the paths.")
    if known < len(paths):
        notes.append(f"{file.name} has predictions of {known} of {len(paths)} images.")
    return BroughtPredictions(probabilities, tuple(notes))


def _load(file: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(file, infer_schema=False, glob=False)
    except FileNotFoundError as error:
        raise DataError(f"{file} does not exist.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{file} cannot be read as a table of predictions: a CSV with the columns path, "
            "probability and fold is needed."
        ) from error
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise DataError(f"{file} lacks the column {missing[0]}: path and probability are needed.")
    values = table["probability"].cast(pl.Float64, strict=False)
    if table["path"].null_count() or not values.is_between(0, 1).fill_null(False).all():
        raise DataError(f"{file} has a row without a path or without a probability from 0 to 1.")
    return table.with_columns(values)


def _match(file: Path, named: list[str], paths: Sequence[str]) -> list[int | None]:
    """Return the row of each named image, None where it is not among the images."""
    exact = {path: row for row, path in enumerate(paths)}
    ends = Counter(end for path in paths for end in _list_ends(path))
    by_end = {end: row for row, path in enumerate(paths) for end in _list_ends(path)}

    def find(name: str) -> int | None:
        beside = str((file.parent / name).absolute())
        for candidate in (name, beside):
            if candidate in exact:
                return exact[candidate]
        for end in _list_ends(name):
            if end in by_end:
                return by_end[end] if ends[end] == 1 else None
        return None

    return [find(name) for name in named]


def _list_ends(path: str) -> list[str]:
    """Return the ends of a path by whole names, the longest first."""
    parts = path.replace("\\", "/").split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]

"""Manifests that people bring: a CSV or Parquet table with a path and a label a row."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pneumoscope.datasets.arrays import split_ref
from pneumoscope.datasets.items import SPLITS, CollectionOptions, Item, Skipped, map_labels
from pneumoscope.datasets.naming import parse_name
from pneumoscope.errors import DataError

_SPLIT_NAMES = {"validation": "val", "valid": "val", "dev": "val", "training": "train"}


def read_table(
    path: Path, options: CollectionOptions
) -> tuple[tuple[Item, ...], tuple[Skipped, ...]]:
    """Return the rows of a manifest as items, and those whose file is missing.

    Relative paths start from the manifest's folder.
    """
    frame = _load(path)
    path_column = _find_column(frame, path, None, ("path", "file", "filename", "image"), "path")
    label_column = _find_column(frame, path, options.label_column, (), "label")
    patient_column = _find_optional(frame, path, options.patient_column, "patient")
    split_column = _find_optional(frame, path, options.split_column, "split")
    names = sorted({str(v) for v in frame[label_column].drop_nulls().unique()})
    labels = map_labels(names, options.positive)
    items, skipped = [], []
    for row in frame.iter_rows(named=True):
        ref = _resolve(str(row[path_column]), path.parent)
        if row[label_column] is None:
            skipped.append(Skipped(ref, "no label"))
            continue
        if not Path(split_ref(ref)[0]).is_file():
            skipped.append(Skipped(ref, "the file does not exist"))
            continue
        parts = parse_name(Path(ref).name)
        patient = row[patient_column] if patient_column else (parts.patient if parts else None)
        items.append(
            Item(
                ref=ref,
                label=labels[str(row[label_column])],
                split=_parse_split(row[split_column], path) if split_column else None,
                patient=None if patient is None else str(patient),
                subtype=row.get("subtype") or (parts.subtype if parts else "none"),
                source=row.get("source") or path.stem,
            )
        )
    return tuple(items), tuple(skipped)


def _load(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as a table: {' '.join(str(error).split())[:200]}"
        ) from error


def _find_column(
    frame: pl.DataFrame, path: Path, wanted: str | None, usual: tuple[str, ...], what: str
) -> str:
    for name in (wanted,) if wanted else usual:
        if name in frame.columns:
            return name
    raise DataError(
        f"{path} has no {what} column {wanted or ' or '.join(usual)!r}, it has "
        f"{', '.join(frame.columns)}; name it with --{what}-column."
    )


def _find_optional(frame: pl.DataFrame, path: Path, wanted: str | None, usual: str) -> str | None:
    if wanted is not None:
        return _find_column(frame, path, wanted, (), usual)
    return usual if usual in frame.columns else None


def _parse_split(value: object, path: Path) -> str | None:
    if value is None or str(value).strip() == "":
        return None
    name = str(value).strip().lower()
    name = _SPLIT_NAMES.get(name, name)
    if name not in SPLITS:
        raise DataError(f"{path} has a split {value!r}: train, val and test are known.")
    return name


def _resolve(ref: str, folder: Path) -> str:
    file, row = split_ref(ref)
    absolute = str((folder / file).absolute())
    return f"{absolute}#{row}" if row else absolute

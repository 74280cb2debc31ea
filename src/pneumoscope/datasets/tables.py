"""Manifests that people bring: a CSV or Parquet table with a path and a label a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pneumoscope.datasets.arrays import split_ref
from pneumoscope.datasets.items import (
    SPLITS,
    CollectionOptions,
    Item,
    Origins,
    Skipped,
    map_labels,
)
from pneumoscope.datasets.naming import parse_name
from pneumoscope.errors import DataError

_PATH_NAMES = ("path", "file", "filename", "image")
#: How polars names the second column of a name, with a number behind.
_SECOND = "_duplicated_"
_SPLIT_NAMES = {"validation": "val", "valid": "val", "dev": "val", "training": "train"}


def read_table(
    path: Path, options: CollectionOptions, labelled: bool = True
) -> tuple[tuple[Item, ...], tuple[str, ...], tuple[Skipped, ...]]:
    """Return the rows of a manifest as items, what should be said, and the rows left out.

    Relative paths start from the manifest's folder. A row that repeats another is passed over.
    Labels are needed only where the images are to be `labelled`.

    Raises
    ------
    DataError
        A column is missing or there twice, or an image has two labels.
    """
    frame = _load(path)
    path_column = _find_column(frame, path, None, _PATH_NAMES, "path")
    label_column = None
    if labelled:
        label_column = _find_column(frame, path, options.label_column, (), "label")
    patient_column = _find_optional(frame, path, options.patient_column, "patient")
    split_column = _find_optional(frame, path, options.split_column, "split")
    labels = _read_labels(frame, label_column, options.positive) if label_column else {}
    origins = Origins()
    items: dict[str, Item] = {}
    skipped: list[Skipped] = []
    repeated = 0
    for row in frame.iter_rows(named=True):
        file = _strip(row[path_column])
        name = _strip(row[label_column]) if label_column else None
        if file is None:
            skipped.append(Skipped(str(path), f"{path} has a row without a path."))
            continue
        ref = _resolve(file, path.parent)
        if label_column and name is None:
            skipped.append(Skipped(ref, f"{ref} has no label."))
            continue
        if not Path(split_ref(ref)[0]).is_file():
            skipped.append(Skipped(ref, f"{ref} does not exist."))
            continue
        parts = parse_name(Path(ref).name)
        is_phantom = origins.is_phantom(split_ref(ref)[0])
        item = Item(
            ref=ref,
            label=labels[name] if name else None,
            split=_parse_split(row[split_column], path) if split_column else None,
            patient=(_strip(row[patient_column]) if patient_column else None)
            or (parts.patient if parts else None),
            subtype=_strip(row.get("subtype")) or (parts.subtype if parts else "none"),
            source="phantom" if is_phantom else _find_site(row) or path.stem,
            fold=_strip(row.get("fold")),
        )
        if ref in items:
            repeated += 1
            first = items[ref]
            if (item.label, item.split, item.fold) != (first.label, first.split, first.fold):
                raise DataError(f"{path} has {ref} twice, with different labels or splits.")
        items[ref] = item
    notes = []
    if skipped:
        notes.append(f"{len(skipped)} rows were left out, the first: {skipped[0].reason}")
    if repeated:
        notes.append(f"{repeated} rows repeat others and were passed over.")
    return tuple(items.values()), tuple(notes), tuple(skipped)


def read_columns(path: Path, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return `path`, as items have it, and those of these columns that a manifest has, as text.

    All that have a name are returned where `names` is None. An image that stands there several
    times has the last row's values, as in `read_table`.

    Raises
    ------
    DataError
        The table cannot be read.
    """
    frame = _load(path)
    path_column = _find_column(frame, path, None, _PATH_NAMES, "path")
    own = [name for name in frame.columns if name != path_column and not _is_unnamed(name)]
    present = own if names is None else [name for name in names if name in own]
    rows = {
        _resolve(file, path.parent): [_strip(row[name]) for name in present]
        for row in frame.iter_rows(named=True)
        if (file := _strip(row[path_column])) is not None
    }
    columns = {name: [row[i] for row in rows.values()] for i, name in enumerate(present)}
    schema = dict.fromkeys(["path", *present], pl.String())
    return pl.DataFrame({"path": list(rows), **columns}, schema=schema)


def _read_labels(frame: pl.DataFrame, column: str, positive: str | None) -> dict[str, str]:
    """Return what each text of the column means."""
    names = sorted({text for value in frame[column].unique() if (text := _strip(value))})
    return map_labels(names, positive)


def _find_site(row: dict[str, object]) -> str | None:
    """Return where an image comes from: its `site`, or its `source`."""
    return _strip(row.get("site")) or _strip(row.get("source"))


def _strip(value: object) -> str | None:
    """Return a cell as text; None where it is empty or blank."""
    return None if value is None else str(value).strip() or None


def _load(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path, glob=False)
        frame = pl.read_csv(path, infer_schema=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        advice = "save it as CSV in UTF-8, with commas, column names, and as many cells in a row"
        if path.suffix.lower() == ".parquet":
            advice = "write it anew, with every column once"
        raise DataError(
            f"{path} cannot be read as a table ({_explain(error)}): {advice}."
        ) from error
    for name in frame.columns:
        first, mark, _ = name.rpartition(_SECOND)
        if mark and first in frame.columns and not _is_unnamed(name):
            raise DataError(
                f"{path} has the column {first!r} more than once, and only one of them can be "
                "meant: rename the others, or take them out."
            )
    return frame


def _explain(error: Exception) -> str:
    """Return in a few words what is wrong with a table."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    if isinstance(error, pl.exceptions.NoDataError):
        return "it is empty"
    text = str(error)
    if "utf-8" in text.lower():
        return "its text is not UTF-8"
    if "ragged" in text or "more fields" in text:
        return "a row has more cells than there are columns"
    return text.splitlines()[0][:120].rstrip(" .:")


def _is_unnamed(column: str) -> bool:
    """Whether it is a column that a spreadsheet leaves without a name, mostly an empty one."""
    return not column.strip() or column.startswith(_SECOND)


def _find_column(
    frame: pl.DataFrame, path: Path, wanted: str | None, usual: tuple[str, ...], what: str
) -> str:
    for name in (wanted,) if wanted else usual:
        if name in frame.columns:
            return name
    advice = "rename one to `path`" if what == "path" else f"name it with --{what}-column"
    if len(frame.columns) == 1 and {";", "\t"} & set(frame.columns[0]):
        advice = "the columns seem to be separated by semicolons or tabs: save it with commas"
    names = " or ".join(map(repr, [wanted] if wanted else usual))
    raise DataError(
        f"{path} has no {what} column {names}, it has {', '.join(frame.columns)}; {advice}."
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

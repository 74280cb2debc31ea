"""The manifest: one row an image, with all that splitting, auditing and resuming need."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope._files import hash_bytes, write_atomically
from pneumoscope.datasets.arrays import read_radiograph
from pneumoscope.datasets.duplicates import Fingerprint, find_near_duplicates, fingerprint
from pneumoscope.datasets.items import PNEUMONIA, Collection, Item, Skipped
from pneumoscope.datasets.naming import parse_name
from pneumoscope.errors import DataError, ImageError

MANIFEST_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "sha256": pl.String(),
    "phash": pl.String(),
    "label": pl.String(),
    "subtype": pl.String(),
    "patient": pl.String(),
    "block": pl.String(),
    "group": pl.String(),
    "copies": pl.String(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "split": pl.String(),
    "fold": pl.String(),
    "source": pl.String(),
}
#: Columns that a manifest of an earlier version may lack.
_LATER = ("copies", "fold")
BLOCKS_PER_SERIES = 10


@dataclass(frozen=True)
class Manifest:
    """The readable images as a table of `MANIFEST_SCHEMA`, and the others with their reason."""

    frame: pl.DataFrame
    excluded: tuple[Skipped, ...]
    notes: tuple[str, ...]
    copies: tuple[tuple[int, int], ...] = ()
    """Rows i < j of the pairs of images that are copies of each other, exact or near."""


def build_manifest(
    collection: Collection,
    *,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
) -> Manifest:
    """Read every image once and describe it; unreadable ones are left out and listed.

    `group` joins the images of one patient and near-duplicates, transitively: what shares a group
    must share a split. `copies` names the set of near-identical images that one is of, null where
    it is alone. `block` cuts each series of acquisition numbers into ten contiguous ranges of equal
    image count; a patient is never cut.

    Raises
    ------
    DataError
        No image is readable.
    """
    rows: list[tuple[Item, _Reading]] = []
    excluded: list[Skipped] = []
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:  # decoding releases the lock
        for done, (item, reading) in enumerate(pool.map(_read_item, collection.items), start=1):
            if isinstance(reading, Skipped):
                excluded.append(reading)
            else:
                known = item.patient or reading.patient
                rows.append((dataclasses.replace(item, patient=known), reading))
            if progress:
                progress(done, len(collection.items))
    if not rows:
        raise DataError(
            f"None of the {len(collection.items)} images is readable; the first: "
            f"{excluded[0].reason}"
        )
    items, hashes = [item for item, _ in rows], [reading.sha256 for _, reading in rows]
    pairs = find_near_duplicates([reading.fingerprint for _, reading in rows])
    frame = pl.DataFrame(
        {
            "path": [item.ref for item in items],
            "sha256": hashes,
            "phash": [reading.fingerprint.phash.tobytes().hex() for _, reading in rows],
            "label": [item.label for item in items],
            "subtype": [item.subtype for item in items],
            "patient": [item.patient for item in items],
            "block": _name_blocks([item.ref for item in items]),
            "group": _name_groups([item.patient for item in items], hashes, pairs),
            "copies": _name_copies(hashes, pairs),
            "width": [reading.width for _, reading in rows],
            "height": [reading.height for _, reading in rows],
            "split": [item.split for item in items],
            "fold": [item.fold for item in items],
            "source": [item.source for item in items],
        },
        schema=MANIFEST_SCHEMA,
    )
    notes = [f"Pairs of identical or near-identical images: {len(pairs)}."] if pairs else []
    notes += _describe_patients(items)
    crossing = [pair for pair in pairs if items[pair[0]].label != items[pair[1]].label]
    if crossing:
        first = [items[i].ref for i in crossing[0]]
        notes.append(
            f"Of these, {len(crossing)} carry different labels, such as {' and '.join(first)}."
        )
    return Manifest(frame, tuple(excluded), tuple(notes), tuple(pairs))


def write_manifest(frame: pl.DataFrame, file: Path) -> None:
    """Write a manifest; paths below the file's folder are stored relative to it."""
    folder = f"{file.parent.absolute()}{os.sep}"
    stored = frame.with_columns(pl.col("path").str.strip_prefix(folder))
    stream = io.BytesIO()
    stored.write_parquet(stream)
    write_atomically(file, stream.getbuffer())


def read_manifest(file: Path) -> pl.DataFrame:
    """Read a manifest that `write_manifest` wrote; paths come back absolute.

    Raises
    ------
    DataError
        The file is missing, damaged, or lacks columns.
    """
    try:
        frame = pl.read_parquet(file, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file} is not a readable manifest.") from error
    missing = [name for name in MANIFEST_SCHEMA if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, pl.String).alias(n) for n in missing if n in _LATER)
    if missing := [name for name in missing if name not in _LATER]:
        raise DataError(f"{file} is not a manifest of this tool: it lacks {', '.join(missing)}.")
    folder = file.parent.absolute()
    absolute = [str(folder / path) for path in frame["path"]]
    return frame.with_columns(pl.Series("path", absolute, dtype=pl.String))


@dataclass(frozen=True)
class _Reading:
    sha256: str
    fingerprint: Fingerprint
    width: int
    height: int
    patient: str | None


def _read_item(item: Item) -> tuple[Item, _Reading | Skipped]:
    try:
        radiograph = read_radiograph(item.ref)
    except ImageError as error:
        return item, Skipped(item.ref, str(error))
    width, height = radiograph.original_size
    number = radiograph.patient_id
    # A hospital's number is not written down: a fingerprint of it tells patients apart as well.
    patient = None if number is None else f"dicom-{hash_bytes(number.encode())[:16]}"
    return item, _Reading(radiograph.sha256, fingerprint(radiograph), width, height, patient)


def _describe_patients(items: Sequence[Item]) -> list[str]:
    unknown = sum(item.patient is None for item in items)
    if not unknown:
        return []
    who = (
        "Patients are unknown"
        if unknown == len(items)
        else (f"{unknown} of {len(items)} images name no patient")
    )
    return [f"{who}: images of one patient may straddle splits."]


def _name_blocks(refs: list[str]) -> list[str | None]:
    """Return `series/00` … `series/09` for each image, None where the name tells no number."""
    parsed = [parts if parts and parts.in_order else None for parts in map(parse_name, refs)]
    names: list[str | None] = [None] * len(refs)
    for series in {parts.series for parts in parsed if parts}:
        rows = [i for i, parts in enumerate(parsed) if parts and parts.series == series]
        numbers = np.array([parsed[i].number for i in rows])  # type: ignore[union-attr]
        for row, block in zip(rows, _cut_evenly(numbers), strict=True):
            names[row] = f"{series}/{block:02d}"
    return names


def _cut_evenly(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the range 0..9 of each image: contiguous numbers, counts as equal as they can be."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    ranges = np.minimum(middle * BLOCKS_PER_SERIES / counts.sum(), BLOCKS_PER_SERIES - 1)
    cut: NDArray[np.int64] = ranges.astype(np.int64)[inverse]
    return cut


def _name_copies(hashes: list[str], pairs: Iterable[tuple[int, int]]) -> list[str | None]:
    """Return the set of near-identical images that each image is of, None where it is alone."""
    names = _name_groups([None] * len(hashes), hashes, pairs)
    paired = {row for pair in pairs for row in pair}
    return [name if row in paired else None for row, name in enumerate(names)]


def _name_groups(
    patients: Sequence[str | None], hashes: list[str], pairs: Iterable[tuple[int, int]]
) -> list[str]:
    """Return a group for each image: connected through a patient or a near-duplicate pair."""
    parent = list(range(len(hashes)))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[str, int] = {}
    for row, patient in enumerate(patients):
        if patient is not None:
            parent[find(row)] = find(first.setdefault(patient, row))
    for one, other in pairs:
        parent[find(one)] = find(other)
    # Named by patient or content, not by row or file name: the order of the images does not matter,
    # and `0001.png` in two folders is not one image.
    names: dict[int, str] = {}
    for row, patient in enumerate(patients):
        name = patient or hashes[row]
        root = find(row)
        names[root] = min(names.get(root, name), name)
    return [names[find(row)] for row in range(len(hashes))]


def read_labels(frame: pl.DataFrame) -> NDArray[np.int64]:
    """Return the label of every row, int [N], 0 (NORMAL) or 1 (PNEUMONIA)."""
    labels: NDArray[np.int64] = (frame["label"] == PNEUMONIA).to_numpy().astype(np.int64)
    return labels

"""Who is in the data: the first table of a paper, one column a split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import polars as pl

from pneumoscope.datasets import SPLITS


def tabulate_characteristics(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return part → what is known of its images and patients; `all` where nothing is split.

    Parameters
    ----------
    frame
        A manifest: label, patient, subtype, width, height and split of each image.
    """
    parts = {split: frame.filter(pl.col("split") == split) for split in SPLITS}
    parts["all"] = frame.filter(pl.col("split").is_null())
    return {name: _describe(rows) for name, rows in parts.items() if rows.height}


def _describe(rows: pl.DataFrame) -> dict[str, Any]:
    known = rows["patient"].drop_nulls()
    sick = rows.filter(pl.col("label") == "PNEUMONIA")
    kinds = {
        kind: n
        for kind in ("bacteria", "virus")
        if (n := sick.filter(pl.col("subtype") == kind).height)
    }
    return {
        "images": rows.height,
        "patients": known.n_unique() if len(known) else None,
        "images_of_unknown_patients": rows.height - len(known),
        "NORMAL": rows.height - sick.height,
        "PNEUMONIA": sick.height,
        **kinds,
        "width": _spread(rows["width"]),
        "height": _spread(rows["height"]),
    }


def _spread(column: pl.Series) -> list[float]:
    """Return quartiles: lower, median, upper."""
    values = [column.quantile(share, "linear") for share in (0.25, 0.5, 0.75)]
    return [float(value or 0) for value in values]


def fingerprint_images(digests: Iterable[str]) -> str:
    """Return one SHA-256 of many, whatever their order: which images a number is of."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()

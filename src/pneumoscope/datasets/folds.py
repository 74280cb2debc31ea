"""Folds: every image is tested once, by a model that saw neither it nor its patient."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from pneumoscope.datasets.dealing import (
    Grouping,
    deal_groups,
    keep_groups_whole,
    name_series,
    name_units,
)
from pneumoscope.datasets.items import LABELS
from pneumoscope.datasets.splits import draw_validation
from pneumoscope.errors import DataError

MIN_FOLDS = 2


def assign_folds(
    frame: pl.DataFrame, folds: int, *, grouping: Grouping = Grouping.PATIENT, seed: int = 0
) -> pl.DataFrame:
    """Return the manifest with `fold`, "0" … for every image, stratified by label.

    Blocks are dealt out as contiguous ranges of every series, sites as whole sites, the largest
    first. A group across two of them goes where most of its images are. The result depends on the
    images and the seed, not on the order of the rows.

    Raises
    ------
    DataError
        There are fewer units than folds, or a fold lacks a class.
    """
    if folds < MIN_FOLDS:
        raise DataError(f"Cross-validation takes at least {MIN_FOLDS} folds, found {folds}.")
    names = [str(fold) for fold in range(folds)]
    units, labels = name_units(frame, grouping), frame["label"].to_list()
    _check_enough(units, folds, grouping)
    if grouping is Grouping.BLOCK:
        dealt = _deal_blocks(units.drop_nulls().unique().sort().to_list(), names, seed)
        # What has no number is dealt by patient.
        spread = _deal_evenly(frame["group"].to_list(), labels, names, seed)
        chosen = [dealt.get(u, other) for u, other in zip(units, spread, strict=True)]
    elif grouping is Grouping.SITE:
        dealt = _deal_sites(units, names, seed)
        chosen = [dealt[unit] for unit in units]
    else:
        chosen = _deal_evenly(units.to_list(), labels, names, seed)
    if grouping is not Grouping.IMAGE:
        chosen = keep_groups_whole(frame, pl.Series(chosen, dtype=pl.String), fallback=None)
    result = frame.with_columns(pl.Series("fold", chosen, dtype=pl.String))
    _check_classes(result, names)
    return result


def split_by_fold(
    frame: pl.DataFrame,
    fold: str,
    shares: Mapping[str, float],
    *,
    grouping: Grouping = Grouping.PATIENT,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the manifest with this fold as test, and validation drawn from the others.

    Validation is drawn by the same grouping; by patient where only one site is left.

    Parameters
    ----------
    shares
        `train` and `val`: how the other folds are cut.
    """
    held = pl.when(pl.col("fold") == fold).then(pl.lit("test")).otherwise(pl.lit("train"))
    return draw_validation(frame.with_columns(held.alias("split")), shares, grouping, seed)


def list_folds(frame: pl.DataFrame) -> list[str]:
    """Return the names of the folds, numbers by their value."""
    names = frame["fold"].drop_nulls().unique().to_list()
    return sorted(names, key=lambda name: (int(name) if name.isdecimal() else math.inf, name))


def check_folds(frame: pl.DataFrame, folds: int) -> None:
    """Raise `DataError` unless every image has one of so many folds, each with both classes."""
    if missing := frame["fold"].null_count():
        raise DataError(f"{missing} of {frame.height} images have no fold: name one for each.")
    found = list_folds(frame)
    if len(found) != folds:
        raise DataError(
            f"The data has {len(found)} folds ({', '.join(found[:12])}), asked were {folds}: "
            "say --folds as the data has it, or bring data without a column `fold`."
        )
    _check_classes(frame, found)


def _check_classes(frame: pl.DataFrame, names: Sequence[str]) -> None:
    for fold in names:
        for label in LABELS:
            if not frame.filter((pl.col("fold") == fold) & (pl.col("label") == label)).height:
                raise DataError(
                    f"Fold {fold} has no {label} image: take fewer folds, or another grouping."
                )


def _check_enough(units: pl.Series, folds: int, grouping: Grouping) -> None:
    if grouping is Grouping.BLOCK:
        series = Counter(name_series(block) for block in units.drop_nulls().unique())
        n = min(series.values())
        what = "blocks in its shortest series"
    else:
        n, what = units.n_unique(), f"{'site' if grouping is Grouping.SITE else grouping.value}s"
    if n < folds:
        raise DataError(f"The data has {n} {what}, too few for {folds} folds.")


def _deal_evenly(keys: list[str], labels: list[str], names: list[str], seed: int) -> list[str]:
    return deal_groups(keys, labels, dict.fromkeys(names, 1 / len(names)), seed)


def _deal_blocks(blocks: list[str], names: list[str], seed: int) -> dict[str, str]:
    """Cut every series into contiguous pieces of blocks; the seed pairs the pieces of the series.

    As a collection's own test part is contiguous: scattered blocks would ask an easier question.
    """
    generator = np.random.default_rng(seed)
    fold_of: dict[str, str] = {}
    for series in sorted({name_series(block) for block in blocks}):
        there = [block for block in blocks if name_series(block) == series]
        order = generator.permutation(len(names))
        for rank, block in enumerate(there):
            fold_of[block] = names[order[rank * len(names) // len(there)]]
    return fold_of


def _deal_sites(sites: pl.Series, names: list[str], seed: int) -> dict[str, str]:
    """Deal sites out, largest first, each to the fold that has fewest images."""
    counts = dict(sites.value_counts().iter_rows())
    there = sorted(counts)
    order = np.random.default_rng(seed).permutation(len(there))
    got = dict.fromkeys(names, 0)
    fold_of: dict[str, str] = {}
    for site in sorted((there[i] for i in order), key=lambda site: -counts[site]):
        fold = min(names, key=lambda name: got[name])
        fold_of[site] = fold
        got[fold] += counts[site]
    return fold_of

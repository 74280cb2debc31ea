"""Splits: which images train, which choose, which judge. Patients never straddle them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from pneumoscope.datasets.dealing import (
    Grouping,
    deal_blocks,
    deal_groups,
    deal_sites,
    keep_groups_whole,
    name_units,
)
from pneumoscope.datasets.items import LABELS, SPLITS, Layout
from pneumoscope.errors import DataError

Ratios = tuple[float, float, float]
MIN_PER_CLASS = 10


@dataclass(frozen=True)
class SplitResult:
    """A manifest whose `split` column is filled, and what should be said about it."""

    frame: pl.DataFrame
    notes: tuple[str, ...]


def assign_splits(
    frame: pl.DataFrame,
    *,
    ratios: Ratios = (80, 10, 10),
    grouping: Grouping = Grouping.PATIENT,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the manifest with a new split for every image, stratified by label.

    The result depends on the images and the seed, not on the order of the rows. A share of 0 leaves
    that split empty. A patient whose images lie in blocks or sites of different splits trains.
    Where there are too few sites for a validation site, validation is drawn by patient from the
    sites that train.

    Raises
    ------
    DataError
        The ratios make no sense, or the images have no acquisition numbers or only one site where
        `block` or `site` is asked.
    """
    shares = _check_ratios(ratios)
    units, labels = name_units(frame, grouping), frame["label"].to_list()
    if grouping is Grouping.BLOCK:
        split_of = deal_blocks(units.drop_nulls().to_list(), shares, seed)
        chosen = [split_of.get(unit, "train") for unit in units]
    elif grouping is Grouping.SITE:
        return _assign_sites(frame, shares, seed)
    else:
        chosen = deal_groups(units.to_list(), labels, shares, seed)
        return frame.with_columns(pl.Series("split", chosen, dtype=pl.String))
    whole = keep_groups_whole(frame, pl.Series(chosen, dtype=pl.String), fallback="train")
    return frame.with_columns(pl.Series("split", whole, dtype=pl.String))


def _assign_sites(frame: pl.DataFrame, shares: dict[str, float], seed: int) -> pl.DataFrame:
    sites, labels = frame["source"].to_list(), frame["label"].to_list()
    too_few = len(set(sites)) < sum(share > 0 for share in shares.values())
    dealt = shares | {"val": 0.0} if too_few else shares
    split_of = deal_sites(sites, labels, dealt, seed)
    chosen = pl.Series([split_of[site] for site in sites], dtype=pl.String)
    whole = keep_groups_whole(frame, chosen, fallback="train")
    result = frame.with_columns(pl.Series("split", whole, dtype=pl.String))
    return draw_validation(result, shares, Grouping.PATIENT, seed) if too_few else result


def draw_validation(
    frame: pl.DataFrame, shares: Mapping[str, float], grouping: Grouping, seed: int
) -> pl.DataFrame:
    """Return the manifest with its test part kept, and the rest drawn anew into train and val.

    Parameters
    ----------
    shares
        `train` and `val`: how the rest is cut.
    """
    rest = frame.filter(pl.col("split") != "test")
    if grouping is Grouping.SITE and rest["source"].n_unique() < 2:
        grouping = Grouping.PATIENT
    ratios = (shares["train"], shares["val"], 0.0)
    drawn = assign_splits(rest, ratios=ratios, grouping=grouping, seed=seed)
    split_of = dict(drawn.select("path", "split").iter_rows())
    chosen = [split_of.get(path, "test") for path in frame["path"]]
    return frame.with_columns(pl.Series("split", chosen, dtype=pl.String))


def take_part(frame: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """Return about `n` images: whole groups, drawn by the seed, labels in their shares.

    Raises
    ------
    DataError
        `n` is too small for three splits of two classes.
    """
    if n < 2 * MIN_PER_CLASS:
        raise DataError(f"A part needs at least {2 * MIN_PER_CLASS} images, found {n}.")
    if n >= frame.height:
        return frame
    shares = {"train": n / frame.height, "val": 0.0, "test": 1 - n / frame.height}
    chosen = deal_groups(frame["group"].to_list(), frame["label"].to_list(), shares, seed)
    return frame.filter(pl.Series([split == "train" for split in chosen]))


def resolve_splits(
    frame: pl.DataFrame,
    layout: Layout,
    *,
    ratios: Ratios = (80, 10, 10),
    grouping: Grouping = Grouping.PATIENT,
    seed: int = 0,
) -> SplitResult:
    """Return the splits that training uses: those that are given, or new ones.

    A split of train and val, with or without test, that names every image is kept as it is. On
    Kaggle's layout, and where every image is in train or test, the test part is kept and validation
    is split off the rest. Everything else is split anew. What leaks is not judged here
    (`find_leakage`).

    Raises
    ------
    DataError
        A class or a split is empty or tiny.
    """
    _check_classes(frame)
    given = set(frame["split"].drop_nulls())
    notes: list[str] = []
    complete = not frame["split"].null_count() and layout is not Layout.KAGGLE
    partial = given == {"train", "test"} and not frame["split"].null_count()
    if "test" in given and (layout is Layout.KAGGLE or partial):
        test = frame.filter(pl.col("split") == "test")
        pool = frame.filter(pl.col("split") != "test")
        if grouping is not Grouping.IMAGE:
            pool, told = _drop_relatives(pool, test)
            notes += told
        shares = {"train": ratios[0], "val": ratios[1]}
        result = draw_validation(pl.concat([pool, test]), shares, grouping, seed)
        notes.append(
            "The test part that the data brings is kept; validation is split off the rest."
        )
    elif complete and {"train", "val"} <= given:
        result = frame
        notes.append("The splits that the data brings are kept.")
        if "test" not in given:
            ratios = (ratios[0], ratios[1], 0.0)
            notes.append("They have no test part: the numbers are those of validation.")
    else:
        result = assign_splits(frame, ratios=ratios, grouping=grouping, seed=seed)
        if given:
            notes.append(
                "The splits that the data brings are not complete: all images are pooled and split "
                "anew."
            )
        share = "/".join(f"{ratio:g}" for ratio in ratios)
        notes.append(f"Split {share} by {grouping.value} with seed {seed}.")
    if grouping is Grouping.SITE:
        notes += describe_sites(result)
    check_splits(result, ratios)
    return SplitResult(result, tuple(notes))


def describe_sites(frame: pl.DataFrame) -> list[str]:
    """Say which sites are in which split, and where a site is in two."""
    sites = {
        split: frame.filter(pl.col("split") == split)["source"].unique().sort().to_list()
        for split in SPLITS
    }
    named = [f"{split} {', '.join(names)}" for split, names in sites.items() if names]
    notes = [f"Sites: {'; '.join(named)}."]
    if set(sites["train"]) == set(sites["val"]):
        notes.append(
            "There are too few sites for a validation site: validation is drawn by patient from "
            "those that train."
        )
    held = frame.filter(pl.col("source").is_in(sites["test"]) & (pl.col("split") != "test"))
    if held.height:
        notes.append(
            f"{held.height} images of the test sites are not in test: their patient, or a "
            "near-identical image, is of another site too."
        )
    return notes


def _check_ratios(ratios: Ratios) -> dict[str, float]:
    if len(ratios) != 3 or ratios[0] <= 0 or not all(0 <= r < math.inf for r in ratios):
        raise DataError(f"Ratios are three shares such as 80/10/10, found {ratios}.")
    total = sum(ratios)
    return {split: ratio / total for split, ratio in zip(SPLITS, ratios, strict=True)}


def _check_classes(frame: pl.DataFrame) -> None:
    for label in LABELS:
        n = frame.filter(pl.col("label") == label).height
        if n < MIN_PER_CLASS:
            raise DataError(
                f"There are {n} readable {label} images: at least {MIN_PER_CLASS} of each class "
                "are needed to train, choose and judge."
            )


def check_splits(frame: pl.DataFrame, ratios: Ratios = (80, 10, 10)) -> None:
    """Raise `DataError` where a split that was asked for lacks a class."""
    for split, ratio in zip(SPLITS, ratios, strict=True):
        for label in LABELS if ratio else ():
            rows = frame.filter((pl.col("split") == split) & (pl.col("label") == label))
            if rows.height == 0:
                raise DataError(
                    f"The split {split} has no {label} image: bring more images or patients, or "
                    "other ratios."
                )


def _drop_relatives(pool: pl.DataFrame, test: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Leave out of the pool who is in the test part, as a patient or a copy."""
    kept = pool.filter(~pl.col("group").is_in(test["group"].implode()))
    left_out = pool.height - kept.height
    if not left_out:
        return pool, ()
    note = (
        f"{left_out} images outside the test part are left out: their patient, or a near-identical "
        "image, is in it."
    )
    return kept, (note,)


def count_images(frame: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return split → label → number of images."""
    return {split: {label: _count(frame, split, label) for label in LABELS} for split in SPLITS}


def _count(frame: pl.DataFrame, split: str, label: str) -> int:
    return frame.filter((pl.col("split") == split) & (pl.col("label") == label)).height


def parse_ratios(text: str) -> Ratios:
    """Return the shares in a text such as 80/10/10."""
    parts: Iterable[str] = text.replace(",", "/").split("/")
    try:
        train, val, test = (float(part) for part in parts)
    except ValueError as error:
        raise DataError(f"Ratios are three shares such as 80/10/10, found {text!r}.") from error
    _check_ratios((train, val, test))
    return train, val, test


def describe_replaced(frame: pl.DataFrame) -> list[str]:
    """Say so where a collection had a split of its own, and another one is drawn."""
    counts = frame.drop_nulls("split").group_by("split").len()
    if counts.is_empty():
        return []
    n = dict(counts.iter_rows())
    there = ", ".join(f"{n[split]} {split}" for split in SPLITS if split in n)
    return [
        f"The data have a split of their own ({there}), which was passed over: `train` and "
        "`evaluate` keep it when they are given the data as they are."
    ]

"""Splits: which images train, which choose, which judge. Patients never straddle them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl

from pneumoscope.datasets.items import LABELS, SPLITS, Layout
from pneumoscope.errors import DataError

Ratios = tuple[float, float, float]
MIN_PER_CLASS = 10


class Grouping(StrEnum):
    """What may not be torn apart."""

    PATIENT = "patient"
    """Images of one patient, and near-duplicates. The default."""
    BLOCK = "block"
    """Whole ranges of acquisition numbers, and patients and near-duplicates with them."""
    IMAGE = "image"
    """Nothing: the widespread random split, whose numbers are too good."""


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
    that split empty.

    Raises
    ------
    DataError
        The ratios make no sense, or `block` is asked of images without acquisition numbers.
    """
    shares = _check_ratios(ratios)
    if grouping is Grouping.BLOCK:
        chosen = _assign_blocks(frame, shares, seed)
    else:
        key = frame["group"] if grouping is Grouping.PATIENT else name_images(frame)
        chosen = _assign_groups(key.to_list(), frame["label"].to_list(), shares, seed)
    return frame.with_columns(pl.Series("split", chosen, dtype=pl.String))


def name_images(frame: pl.DataFrame) -> pl.Series:
    """Return a name for each image: its content, and its rank among equal ones by their paths.

    Neither the folder that holds all of them nor the order of the rows matters.
    """
    rank = pl.col("path").rank("ordinal").over("sha256")
    return frame.select(pl.format("{}-{}", "sha256", rank)).to_series()


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
    chosen = _assign_groups(frame["group"].to_list(), frame["label"].to_list(), shares, seed)
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

    A complete split is kept; it needs no test part where the ratios give it no share. On Kaggle's
    layout, and where every image is in train or test, the test part is kept and validation is split
    off the rest. Everything else is split anew.

    Raises
    ------
    DataError
        A class or a split is empty or tiny, or a patient is in two splits that were given.
    """
    _check_classes(frame)
    given = set(frame["split"].drop_nulls())
    notes: list[str] = []
    wanted = {split for split, ratio in zip(SPLITS, ratios, strict=True) if ratio}
    partial = given == {"train", "test"} and not frame["split"].null_count()
    if "test" in given and (layout is Layout.KAGGLE or partial):
        test = frame.filter(pl.col("split") == "test")
        pool = frame.filter(pl.col("split") != "test")
        if grouping is not Grouping.IMAGE:
            pool, told = _drop_relatives(pool, test)
            notes += told
        both = (ratios[0], ratios[1], 0.0)
        result = pl.concat([assign_splits(pool, ratios=both, grouping=grouping, seed=seed), test])
        notes.append(
            "The test part that the data brings is kept; validation is split off the rest."
        )
    elif layout is not Layout.KAGGLE and wanted <= given and not frame["split"].null_count():
        result = frame
        notes.append("The splits that the data brings are kept.")
        if grouping is not Grouping.IMAGE:
            notes += _check_overlap(result)
    else:
        result = assign_splits(frame, ratios=ratios, grouping=grouping, seed=seed)
        if given:
            notes.append(
                "The splits that the data brings are not complete: all images are pooled and split "
                "anew."
            )
        share = "/".join(f"{ratio:g}" for ratio in ratios)
        notes.append(f"Split {share} by {grouping.value} with seed {seed}.")
    if grouping is Grouping.IMAGE:
        notes.append(describe_leak(result))
    check_splits(result, ratios)
    return SplitResult(result, tuple(notes))


def count_leaked(frame: pl.DataFrame) -> int:
    """Return how many test images have an image of the same patient in train."""
    train = frame.filter(pl.col("split") == "train")["patient"].drop_nulls().unique()
    test = frame.filter(pl.col("split") == "test")
    return int(test["patient"].is_in(train.implode()).sum())


def describe_leak(frame: pl.DataFrame) -> str:
    """Say how many test images have their patient in train."""
    if not frame["patient"].drop_nulls().len():
        return (
            "Split by image, and patients are unknown: how many test images have theirs in train "
            "cannot be told, and numbers from this split may be too good."
        )
    leaked, n = count_leaked(frame), frame.filter(pl.col("split") == "test").height
    return (
        f"{leaked} of {n} test images ({leaked / max(n, 1):.0%}) have their patient in train: "
        "numbers from this split are too good."
    )


def _check_ratios(ratios: Ratios) -> dict[str, float]:
    if len(ratios) != 3 or ratios[0] <= 0 or not all(0 <= r < math.inf for r in ratios):
        raise DataError(f"Ratios are three shares such as 80/10/10, found {ratios}.")
    total = sum(ratios)
    return {split: ratio / total for split, ratio in zip(SPLITS, ratios, strict=True)}


def _assign_groups(
    keys: list[str], labels: list[str], shares: dict[str, float], seed: int
) -> list[str]:
    """Deal groups out, largest first, each to the split that lacks most of its label."""
    table = (
        pl.DataFrame({"key": keys, "label": labels})
        .group_by("key")
        .agg(pl.len().alias("n"), (pl.col("label") == LABELS[1]).sum().alias("positives"))
        .sort("key")
    )
    order = np.random.default_rng(seed).permutation(table.height)
    table = table[order.tolist()].sort("n", descending=True, maintain_order=True)
    totals = {label: labels.count(label) for label in LABELS}
    got = {split: dict.fromkeys(LABELS, 0) for split in SPLITS}
    chosen: dict[str, str] = {}
    for key, n, positives in table.select("key", "n", "positives").iter_rows():
        label = LABELS[1] if 2 * positives >= n else LABELS[0]
        split = max(
            (s for s in SPLITS if shares[s] > 0),
            key=lambda s: (shares[s] * totals[label] - got[s][label]) / shares[s] ** 0.5,
        )
        chosen[key] = split
        got[split][LABELS[1]] += positives
        got[split][LABELS[0]] += n - positives
    return [chosen[key] for key in keys]


def _assign_blocks(frame: pl.DataFrame, shares: dict[str, float], seed: int) -> list[str]:
    """Hold whole blocks of every series out; a group that would straddle goes to train."""
    if frame["block"].null_count() == frame.height:
        raise DataError(
            "Blocks need file names with acquisition numbers (person12_virus_3.jpeg, "
            "IM-0115-0001.jpeg): use --group patient."
        )
    split_of: dict[str | None, str] = {None: "train"}
    generator = np.random.default_rng(seed)
    blocks = sorted(frame["block"].drop_nulls().unique())
    for series in sorted({name.rpartition("/")[0] for name in blocks}):
        # A short series leaves some of its ranges empty: those that are there are dealt out.
        there = [name for name in blocks if name.rpartition("/")[0] == series]
        held = {s: round(shares[s] * len(there)) for s in ("test", "val")}
        held = {s: max(n, 1) if shares[s] else 0 for s, n in held.items()}
        for rank, place in enumerate(generator.permutation(len(there))):
            split = "train"
            if rank < held["test"]:
                split = "test"
            elif rank < held["test"] + held["val"]:
                split = "val"
            split_of[there[place]] = split
    chosen = frame.select(
        "group",
        pl.col("block").map_elements(split_of.get, return_dtype=pl.String, skip_nulls=False),
    ).with_columns(pl.col("block").fill_null("train"))
    torn = chosen.group_by("group").agg(pl.col("block").n_unique().alias("n"))
    straddling = torn.filter(pl.col("n") > 1)["group"].implode()
    return (
        chosen.select(
            pl.when(pl.col("group").is_in(straddling))
            .then(pl.lit("train"))
            .otherwise(pl.col("block"))
        )
        .to_series()
        .to_list()
    )


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


def _check_overlap(frame: pl.DataFrame) -> tuple[str, ...]:
    """Refuse patients in two splits; copies of unknown patients are named in a note."""
    torn = _find_straddling(frame, "patient")
    if torn:
        raise DataError(
            f"{len(torn)} patients are in more than one of the splits that the data brings, such "
            f"as {torn[0]}: split anew with `pneumoscope data reorganize`, or take them as they "
            "are with --set grouping=image."
        )
    copies = _find_straddling(frame, "group")
    if not copies:
        return ()
    return (
        f"{len(copies)} groups of near-identical images are in more than one of the splits that "
        "the data brings: numbers are too good; `pneumoscope data reorganize` keeps them together.",
    )


def _find_straddling(frame: pl.DataFrame, column: str) -> list[str]:
    counts = frame.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique().alias("n"))
    return sorted(counts.filter(pl.col("n") > 1)[column].to_list())


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

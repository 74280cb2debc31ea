"""Dealing: units that may not be torn apart go to parts, in stated shares and by a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import polars as pl

from pneumoscope.datasets.items import LABELS
from pneumoscope.errors import DataError


class Grouping(StrEnum):
    """What may not be torn apart."""

    PATIENT = "patient"
    """Images of one patient, and near-duplicates. The default."""
    BLOCK = "block"
    """Whole ranges of acquisition numbers, and patients and near-duplicates with them."""
    SITE = "site"
    """Whole sources, such as hospitals, and patients and near-duplicates with them."""
    IMAGE = "image"
    """Nothing: the widespread random split, whose numbers are too good."""


def name_images(frame: pl.DataFrame) -> pl.Series:
    """Return a name for each image: its content, and its rank among equal ones by their paths.

    Neither the folder that holds all of them nor the order of the rows matters.
    """
    rank = pl.col("path").rank("ordinal").over("sha256")
    return frame.select(pl.format("{}-{}", "sha256", rank)).to_series()


def name_units(frame: pl.DataFrame, grouping: Grouping) -> pl.Series:
    """Return the unit of each image: group, image, block or site; null where it has no block.

    Raises
    ------
    DataError
        The images have no acquisition numbers, or are of one site.
    """
    if grouping is Grouping.PATIENT:
        return frame["group"]
    if grouping is Grouping.IMAGE:
        return name_images(frame)
    if grouping is Grouping.BLOCK:
        if frame["block"].null_count() == frame.height:
            raise DataError(
                "Blocks need file names with acquisition numbers (person12_virus_3.jpeg, "
                "IM-0115-0001.jpeg): use --group patient."
            )
        return frame["block"]
    if frame["source"].n_unique() < 2:
        raise DataError(
            f"All images are of one site, {frame['source'][0]!r}: bring a manifest with a column "
            "`site` that names at least two, or use --group patient."
        )
    return frame["source"]


def deal_groups(
    keys: Sequence[str], labels: Sequence[str], shares: Mapping[str, float], seed: int
) -> list[str]:
    """Deal groups out, largest first, each to the part that lacks the largest share of its label.

    So every part gets its share of the large groups too: patients with many images are another
    kind of patient, and a test part without them would be another test. A group goes where there
    is room for it, if there is such a part.

    Parameters
    ----------
    keys, labels
        The group and the label of each image.
    shares
        Part → its share; they sum to 1.
    """
    table = (
        pl.DataFrame({"key": keys, "label": labels}, schema={"key": pl.String, "label": pl.String})
        .group_by("key")
        .agg(pl.len().alias("n"), (pl.col("label") == LABELS[1]).sum().alias("positives"))
        .sort("key")
    )
    order = np.random.default_rng(seed).permutation(table.height)
    table = table[order.tolist()].sort("n", descending=True, maintain_order=True)
    totals = {label: labels.count(label) for label in LABELS}
    got = {part: dict.fromkeys(LABELS, 0) for part in shares}
    chosen: dict[str, str] = {}
    for key, n, positives in table.select("key", "n", "positives").iter_rows():
        label = LABELS[1] if 2 * positives >= n else LABELS[0]
        lacking = {
            part: share * totals[label] - got[part][label]
            for part, share in shares.items()
            if share > 0
        }
        roomy = [part for part, lack in lacking.items() if lack >= n]
        part = (
            max(roomy, key=lambda part: lacking[part] / shares[part])
            if roomy
            else max(lacking, key=lacking.__getitem__)
        )
        chosen[key] = part
        got[part][LABELS[1]] += positives
        got[part][LABELS[0]] += n - positives
    return [chosen[key] for key in keys]


def deal_blocks(blocks: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return block → split: of every series so many whole blocks as the shares of test and val say.

    At least one, where there is a share.
    """
    split_of: dict[str, str] = {}
    generator = np.random.default_rng(seed)
    for series in sorted({name_series(block) for block in blocks}):
        # A short series leaves some of its ranges empty: those that are there are dealt out.
        there = [block for block in sorted(set(blocks)) if name_series(block) == series]
        for rank, place in enumerate(generator.permutation(len(there))):
            split_of[there[place]] = _find_split(rank, len(there), shares)
    return split_of


def deal_sites(
    sites: Sequence[str], labels: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return site → split: so many whole sites as the shares say, at least one where there is one.

    Of the orders that the seed draws, the first that gives every split both classes is taken; where
    a hundred give none, the last.
    """
    there = sorted(set(sites))
    generator = np.random.default_rng(seed)
    split_of: dict[str, str] = {}
    for _ in range(100):
        order = generator.permutation(len(there))
        split_of = {
            there[place]: _find_split(rank, len(there), shares) for rank, place in enumerate(order)
        }
        found = {(split_of[site], label) for site, label in zip(sites, labels, strict=True)}
        if len(found) == len(LABELS) * sum(share > 0 for share in shares.values()):
            break
    return split_of


def keep_groups_whole(frame: pl.DataFrame, parts: pl.Series, fallback: str | None) -> list[str]:
    """Return the part of each image, such that no group is in two.

    A group that would straddle goes to `fallback`; without one, to the part that has most of it.
    """
    chosen = frame.select("group", parts.alias("part"))
    counts = chosen.group_by("group", "part").len().sort("group", "len", "part")
    # The last of a group has the most images; its name decides between equals.
    whole = counts.group_by("group").agg(
        pl.col("part").last().alias("most"), (pl.len() > 1).alias("torn")
    )
    target = pl.col("most") if fallback is None else pl.lit(fallback)
    whole = whole.with_columns(pl.when("torn").then(target).otherwise("most").alias("whole"))
    return chosen.join(whole, on="group", how="left", maintain_order="left")["whole"].to_list()


def name_series(block: str) -> str:
    """Return the series of acquisition numbers that a block is cut from."""
    return block.rpartition("/")[0]


def _find_split(rank: int, n: int, shares: Mapping[str, float]) -> str:
    """Return the split of the `rank`-th of `n` units in drawn order: test first, then val."""
    held = {s: max(round(shares[s] * n), 1) if shares[s] else 0 for s in ("test", "val")}
    if rank < held["test"]:
        return "test"
    return "val" if rank < held["test"] + held["val"] else "train"

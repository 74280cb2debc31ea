"""Folds and sites: every image is tested once, nothing is torn, and only the seed matters."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope._files import hash_bytes
from pneumoscope.datasets import (
    LABELS,
    MANIFEST_SCHEMA,
    Grouping,
    assign_folds,
    assign_splits,
    check_folds,
    list_folds,
    split_by_fold,
)
from pneumoscope.datasets.manifest import _name_blocks
from pneumoscope.datasets.splits import describe_sites
from pneumoscope.errors import DataError

SHARES = {"train": 80.0, "val": 10.0}


def _frame(rows: list[tuple[str, str, str, str]]) -> pl.DataFrame:
    """Return a manifest of (path, label, group, source)."""
    paths = [path for path, *_ in rows]
    columns = {
        "path": paths,
        "sha256": [hash_bytes(path.encode()) for path in paths],
        "label": [label for _, label, _, _ in rows],
        "patient": [group for _, _, group, _ in rows],
        "block": _name_blocks(paths),
        "group": [group for _, _, group, _ in rows],
        "source": [source for *_, source in rows],
    }
    empty = {name: [None] * len(rows) for name in MANIFEST_SCHEMA if name not in columns}
    return pl.DataFrame(columns | empty, schema_overrides=MANIFEST_SCHEMA)


def _kermany(n: int = 60, images: int = 2) -> pl.DataFrame:
    """Return a manifest of four series of `n` patients, in turn of four sites."""
    rows = []
    for number in range(1, n + 1):
        for image in range(images):
            site = f"site {number % 4}"
            for series in ("IM", "NORMAL2-IM"):
                name = f"{series}-{number}-{image}.png"
                rows.append((name, "NORMAL", f"{series}-{number}", site))
            for cause in ("bacteria", "virus"):
                name = f"person{number}_{cause}_{image}.png"
                rows.append((name, "PNEUMONIA", f"{cause}-{number}", site))
    return _frame(rows)


def _read(frame: pl.DataFrame, column: str) -> dict[str, str]:
    return dict(frame.select("path", column).iter_rows())


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=40, max_size=90),
    folds=st.integers(2, 6),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_every_image_has_one_fold_and_no_patient_two(
    sizes: list[int], folds: int, seed: int, data: st.DataObject
) -> None:
    frame = _frame(
        [
            (f"{g}-{i}.png", LABELS[g % 2], f"g{g}", "here")
            for g, n in enumerate(sizes)
            for i in range(n)
        ]
    )
    result = assign_folds(frame, folds, seed=seed)
    assert result.drop("fold").equals(frame.drop("fold"))
    assert list_folds(result) == [str(fold) for fold in range(folds)]
    assert result.group_by("group").agg(pl.col("fold").n_unique())["fold"].max() == 1
    for label in LABELS:  # stratified to within a group
        rows = result.filter(label=label)
        for fold in list_folds(result):
            found = rows.filter(fold=fold).height
            assert abs(found - rows.height / folds) <= max(sizes)
    order = data.draw(st.permutations(range(frame.height)))
    assert _read(assign_folds(frame[order], folds, seed=seed), "fold") == _read(result, "fold")


@pytest.mark.parametrize("grouping", list(Grouping))
def test_each_image_is_tested_once_and_validation_never_holds_the_fold(grouping: Grouping) -> None:
    folded = assign_folds(_kermany(), 4, grouping=grouping, seed=2)
    tested: Counter[str] = Counter()
    for fold in list_folds(folded):
        split = split_by_fold(folded, fold, SHARES, grouping=grouping, seed=2)
        assert split["path"].equals(folded["path"])
        tested.update(split.filter(split="test")["path"])
        assert set(split.filter(split="test")["fold"]) == {fold}
        assert set(split["split"]) == {"train", "val", "test"}
        whole = split.group_by("group").agg(pl.col("split").n_unique())["split"].max()
        assert whole == 1 or grouping is Grouping.IMAGE
        if grouping in {Grouping.BLOCK, Grouping.SITE}:
            unit = "block" if grouping is Grouping.BLOCK else "source"
            assert split.group_by(unit).agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(tested) == set(folded["path"])
    assert set(tested.values()) == {1}


@pytest.mark.parametrize("seed", range(3))
def test_block_folds_are_contiguous_in_every_series(seed: int) -> None:
    folded = assign_folds(_kermany(), 5, grouping=Grouping.BLOCK, seed=seed)
    blocks = folded.select("block", "fold").unique().sort("block")
    for _, rows in blocks.group_by(pl.col("block").str.head(-3)):
        order = rows.sort("block")["fold"].to_list()
        assert len(order) == 10
        assert order == [fold for fold in dict.fromkeys(order) for _ in range(2)]


def test_a_group_across_two_blocks_is_tested_once_where_most_of_it_is() -> None:
    frame = _kermany()
    folded = assign_folds(frame, 5, grouping=Grouping.BLOCK)
    first, last = (folded.filter(fold=fold)["patient"][0] for fold in ("0", "3"))
    extra = frame.filter(patient=first).head(1).with_columns(path=pl.lit("IM-1-9.png"))
    both = pl.col("patient").is_in([first, last])
    joined = pl.concat([frame, extra]).with_columns(
        pl.when(both).then(pl.lit("joined")).otherwise("group").alias("group")
    )
    again = assign_folds(joined, 5, grouping=Grouping.BLOCK)
    assert set(again.filter(both)["fold"]) == {"0"}


# -- sites ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_whole_sites_are_held_out(seed: int) -> None:
    result = assign_splits(_kermany(), grouping=Grouping.SITE, seed=seed)
    sites = dict(result.select("source", "split").unique().iter_rows())
    assert len(sites) == 4
    assert sorted(sites.values()) == ["test", "train", "train", "val"]
    shuffled = assign_splits(_kermany().reverse(), grouping=Grouping.SITE, seed=seed)
    assert _read(shuffled, "split") == _read(result, "split")


def test_an_order_of_sites_with_both_classes_everywhere_is_found() -> None:
    """Two of six sites have one class only: they may train, not test."""
    rows = [
        (f"{site}-{i}.png", LABELS[i % 2 if site > 1 else site], f"{site}-{i}", f"s{site}")
        for site in range(6)
        for i in range(10)
    ]
    for seed in range(10):
        result = assign_splits(_frame(rows), grouping=Grouping.SITE, seed=seed)
        assert set(result.filter(pl.col("source").is_in(["s0", "s1"]))["split"]) == {"train"}


def test_two_sites_are_enough_for_a_test_site() -> None:
    frame = _kermany().with_columns(
        pl.when(pl.col("source") < "site 2")
        .then(pl.lit("a"))
        .otherwise(pl.lit("b"))
        .alias("source")
    )
    result = assign_splits(frame, grouping=Grouping.SITE)
    assert result.filter(split="test")["source"].n_unique() == 1
    assert result.filter(split="test").height == frame.height // 2
    assert result.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert 0 < result.filter(split="val").height < frame.height // 8
    assert any("too few sites for a validation site" in note for note in describe_sites(result))


def test_one_site_cannot_be_held_out() -> None:
    frame = _kermany().with_columns(source=pl.lit("here"))
    for attempt in (assign_splits, lambda f, grouping: assign_folds(f, 2, grouping=grouping)):
        with pytest.raises(DataError, match="All images are of one site, 'here'"):
            attempt(frame, grouping=Grouping.SITE)


def test_a_patient_of_two_sites_trains_and_is_told() -> None:
    frame = _kermany()
    result = assign_splits(frame, grouping=Grouping.SITE)
    both = [result.filter(split=split)["patient"][0] for split in ("train", "test")]
    joined = frame.with_columns(
        pl.when(pl.col("patient").is_in(both)).then(pl.lit("x")).otherwise("group").alias("group")
    )
    again = assign_splits(joined, grouping=Grouping.SITE)
    assert set(again.filter(group="x")["split"]) == {"train"}
    assert any(
        note.startswith("2 images of the test sites are not") for note in describe_sites(again)
    )


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folds", "grouping", "message"),
    [
        (1, Grouping.PATIENT, "at least 2 folds, found 1"),
        (5, Grouping.SITE, "has 4 sites, too few for 5 folds"),
        (11, Grouping.BLOCK, "10 blocks in its shortest series, too few for 11"),
        (241, Grouping.PATIENT, "has 240 patients, too few for 241"),
        (130, Grouping.PATIENT, "has no PNEUMONIA image|has no NORMAL image"),
    ],
)
def test_impossible_folds_are_one_sentence(folds: int, grouping: Grouping, message: str) -> None:
    with pytest.raises(DataError, match=message):
        assign_folds(_kermany(), folds, grouping=grouping)


def test_given_folds_must_be_whole() -> None:
    folded = assign_folds(_kermany(), 4)
    check_folds(folded, 4)
    with pytest.raises(DataError, match=r"has 4 folds \(0, 1, 2, 3\), asked were 5"):
        check_folds(folded, 5)
    torn = folded.with_columns(pl.when(pl.col("fold") != "3").then("fold"))
    with pytest.raises(DataError, match="120 of 480 images have no fold"):
        check_folds(torn, 4)


def test_folds_are_listed_by_number_then_by_name() -> None:
    frame = pl.DataFrame({"fold": ["10", "2", "b", "a", None]})
    assert list_folds(frame) == ["2", "10", "a", "b"]

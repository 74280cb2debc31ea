"""The splitter: groups are never torn, shares are kept, and only the seed makes a difference."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope._files import hash_bytes
from pneumoscope.datasets import (
    LABELS,
    MANIFEST_SCHEMA,
    SPLITS,
    Grouping,
    assign_splits,
    count_images,
    count_leaked,
    describe_leak,
    parse_ratios,
)
from pneumoscope.datasets.dealing import deal_groups
from pneumoscope.datasets.manifest import _name_blocks
from pneumoscope.datasets.splits import take_part
from pneumoscope.errors import DataError


def _frame(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    """Return a manifest of (path, label, group)."""
    paths = [path for path, _, _ in rows]
    return pl.DataFrame(
        {
            "path": paths,
            "sha256": [hash_bytes(path.encode()) for path in paths],
            "phash": "",
            "label": [label for _, label, _ in rows],
            "subtype": "none",
            "patient": [group for _, _, group in rows],
            "block": _name_blocks(paths),
            "group": [group for _, _, group in rows],
            "width": 8,
            "height": 8,
            "copies": None,
            "split": None,
            "fold": None,
            "source": "test",
        },
        schema=MANIFEST_SCHEMA,
    )


def _kermany(n: int = 100, images: int = 3) -> pl.DataFrame:
    """Return a manifest of four series of `n` patients with `images` images each."""
    rows = []
    for number in range(1, n + 1):
        for image in range(images):
            for series in ("IM", "NORMAL2-IM"):
                rows.append((f"{series}-{number}-{image}.png", "NORMAL", f"{series}-{number}"))
            for cause in ("bacteria", "virus"):
                name = f"person{number}_{cause}_{image}.png"
                rows.append((name, "PNEUMONIA", f"{cause}-{number}"))
    return _frame(rows)


def _split_of(frame: pl.DataFrame) -> dict[str, str]:
    return dict(zip(frame["path"], frame["split"], strict=True))


GROUPS = st.lists(
    st.tuples(st.integers(1, 12), st.floats(0, 1)), min_size=3, max_size=60
)  # the number of images, and the share of pneumonia


def _draw(groups: list[tuple[int, float]]) -> pl.DataFrame:
    rows = [
        (f"{g}-{i}.png", LABELS[i < round(share * n)], f"g{g}")
        for g, (n, share) in enumerate(groups)
        for i in range(n)
    ]
    return _frame(rows)


@settings(max_examples=100, deadline=None)
@given(
    groups=GROUPS,
    ratios=st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_groups_are_never_torn_and_only_the_seed_makes_a_difference(
    groups: list[tuple[int, float]],
    ratios: tuple[int, int, int],
    seed: int,
    data: st.DataObject,
) -> None:
    frame = _draw(groups)
    result = assign_splits(frame, ratios=ratios, seed=seed)
    assert result.drop("split").equals(frame.drop("split"))
    assert result.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    asked = {split for split, ratio in zip(SPLITS, ratios, strict=True) if ratio}
    assert set(result["split"]) <= asked
    order = data.draw(st.permutations(range(frame.height)))
    shuffled = assign_splits(frame[order], ratios=ratios, seed=seed)
    assert _split_of(shuffled) == _split_of(result)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=20, max_size=80),
    ratios=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**32),
)
def test_shares_are_kept_in_each_class_to_within_a_group(
    sizes: list[int], ratios: tuple[int, int, int], seed: int
) -> None:
    frame = _draw([(n, float(g % 2)) for g, n in enumerate(sizes)])
    counts = count_images(assign_splits(frame, ratios=ratios, seed=seed))
    for label in LABELS:
        total = sum(counts[split][label] for split in SPLITS)
        for split, ratio in zip(SPLITS, ratios, strict=True):
            assert abs(counts[split][label] - total * ratio / sum(ratios)) <= max(sizes)


@settings(max_examples=60, deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 2**32), n=st.integers(20, 60))
def test_a_part_holds_whole_groups(groups: list[tuple[int, float]], seed: int, n: int) -> None:
    frame = _draw(groups)
    part = take_part(frame, n, seed)
    inside, outside = set(part["group"]), set(frame["group"]) - set(part["group"])
    assert frame.filter(pl.col("group").is_in(list(inside))).height == part.height
    assert abs(part.height - min(n, frame.height)) <= 24  # a group or two
    assert inside.isdisjoint(outside)


def test_a_part_that_is_too_small_is_refused() -> None:
    with pytest.raises(DataError, match="at least 20 images, found 5"):
        take_part(_kermany(), 5, 0)
    assert take_part(_kermany(), 10**6, 0).height == 1200


def test_another_seed_is_another_split() -> None:
    frame = _kermany()
    one, other = assign_splits(frame, seed=1), assign_splits(frame, seed=2)
    assert one["split"].to_list() != other["split"].to_list()
    assert one.equals(assign_splits(frame, seed=1))


def test_eighty_ten_ten_is_what_comes_out() -> None:
    counts = count_images(assign_splits(_kermany()))
    for label in LABELS:
        assert [counts[split][label] for split in SPLITS] == pytest.approx([480, 60, 60], abs=3)


@pytest.mark.parametrize("text", ["80/10/10", "0.8/0.1/0.1", "8,1,1", " 80 / 10 / 10 "])
def test_ratios_are_three_shares(text: str) -> None:
    train, val, test = parse_ratios(text)
    assert (val / train, test / train) == pytest.approx((1 / 8, 1 / 8))


@pytest.mark.parametrize(
    "text",
    [
        *("", "80", "80/20", "1/1/1/1", "a/b/c", "0/50/50", "-1/1/1", "80/-10/30"),
        *("nan/1/1", "1/nan/1", "inf/1/1", "1/inf/1"),
    ],
)
def test_other_ratios_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(DataError, match="Ratios are three shares such as 80/10/10, found"):
        parse_ratios(text)


# -- blocks --------------------------------------------------------------------------------------


def test_blocks_cut_each_series_by_number_into_ten_equal_ranges() -> None:
    frame = _kermany(n=97, images=2)
    parts = frame.with_columns(
        pl.col("block").str.split("/").list.first().alias("series"),
        pl.col("patient").str.extract(r"(\d+)$").cast(pl.Int64).alias("number"),
    )
    for (series,), rows in parts.group_by("series"):
        ranges = (
            rows.group_by("block")
            .agg(pl.len(), pl.col("number").min().alias("low"), pl.col("number").max().alias("up"))
            .sort("block")
        )
        assert ranges["block"].to_list() == [f"{series}/{i:02d}" for i in range(10)]
        assert ranges["len"].max() - ranges["len"].min() <= 2  # a patient
        # Sorted by number: each range ends before the next begins.
        assert all(up < low for up, low in zip(ranges["up"][:-1], ranges["low"][1:], strict=True))
    assert parts.group_by("patient").agg(pl.col("block").n_unique())["block"].max() == 1


def test_ranges_hold_equally_many_images_not_patients() -> None:
    """One patient of 30 images does not make its range longer than it must be."""
    names = [f"person1_virus_{i}.png" for i in range(30)]
    names += [f"person{n}_virus_1.png" for n in range(2, 272)]
    counts = pl.Series(_name_blocks(names)).value_counts()["count"]
    assert len(counts) == 10
    assert (counts.min(), counts.max()) == (30, 30)


@pytest.mark.parametrize("seed", range(5))
def test_whole_ranges_of_every_series_are_held_out(seed: int) -> None:
    frame = _kermany()
    result = assign_splits(frame, grouping=Grouping.BLOCK, seed=seed)
    assert result.group_by("block").agg(pl.col("split").n_unique())["split"].max() == 1
    held = result.with_columns(pl.col("block").str.split("/").list.first().alias("series"))
    for _, rows in held.group_by("series"):
        blocks = rows.group_by("split").agg(pl.col("block").n_unique())
        assert dict(blocks.iter_rows()) == {"train": 8, "val": 1, "test": 1}
    shuffled = assign_splits(frame.reverse(), grouping=Grouping.BLOCK, seed=seed)
    assert _split_of(shuffled) == _split_of(result)


def test_more_ranges_are_held_out_for_larger_shares() -> None:
    result = assign_splits(_kermany(), ratios=(50, 20, 30), grouping=Grouping.BLOCK)
    blocks = result.group_by("split").agg(pl.col("block").n_unique())
    assert dict(blocks.iter_rows()) == {"train": 20, "val": 8, "test": 12}


@pytest.mark.parametrize("seed", range(10))
def test_short_series_hold_ranges_out_as_well(seed: int) -> None:
    result = assign_splits(_kermany(n=5), grouping=Grouping.BLOCK, seed=seed)
    counts = count_images(result)
    assert all(counts[split][label] for split in SPLITS for label in LABELS)


def test_a_group_across_two_ranges_goes_to_train() -> None:
    """A near-duplicate that joins patients of different ranges must not straddle splits."""
    frame = _kermany()
    result = assign_splits(frame, grouping=Grouping.BLOCK)
    test = result.filter(pl.col("split") == "test")["patient"][0]
    train = result.filter(pl.col("split") == "train")["patient"][0]
    both = pl.col("patient").is_in([test, train])
    joined = frame.with_columns(
        pl.when(both).then(pl.lit("joined")).otherwise("group").alias("group")
    )
    again = assign_splits(joined, grouping=Grouping.BLOCK)
    assert set(again.filter(both)["split"]) == {"train"}


def test_blocks_need_numbers() -> None:
    with pytest.raises(DataError, match="Blocks need file names with acquisition numbers"):
        assign_splits(_draw([(3, 0.5)] * 9), grouping=Grouping.BLOCK)


# -- images --------------------------------------------------------------------------------------


def test_a_split_by_image_leaks_patients_and_says_how_many() -> None:
    frame = _kermany()
    result = assign_splits(frame, grouping=Grouping.IMAGE)
    leaked, test = count_leaked(result), result.filter(pl.col("split") == "test").height
    train = set(result.filter(pl.col("split") == "train")["patient"])
    by_hand = sum(
        patient in train for patient in result.filter(pl.col("split") == "test")["patient"]
    )
    assert leaked == by_hand > 0.8 * test
    assert f"{leaked} of {test} test images" in describe_leak(result)
    assert count_leaked(assign_splits(frame, grouping=Grouping.PATIENT)) == 0


def test_images_without_a_patient_do_not_leak() -> None:
    frame = _kermany().with_columns(pl.lit(None, pl.String).alias("patient"))
    assert count_leaked(assign_splits(frame, grouping=Grouping.IMAGE)) == 0


def test_a_split_by_image_does_not_depend_on_where_the_folder_lies() -> None:
    frame = _kermany(20)
    moved = frame.with_columns("/another/place/" + pl.col("path"))
    one = assign_splits(frame, grouping=Grouping.IMAGE)["split"]
    other = assign_splits(moved.reverse(), grouping=Grouping.IMAGE)["split"].reverse()
    assert one.to_list() == other.to_list()


@pytest.mark.parametrize("seed", range(3))
def test_every_part_has_its_share_of_patients_with_many_images(seed):
    """A test part of nothing but patients with one image would be a test of other patients."""
    sizes = [1] * 400 + [2] * 60 + [6] * 30 + [20] * 10
    keys = [str(key) for key, size in enumerate(sizes) for _ in range(size)]
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    chosen = deal_groups(keys, ["PNEUMONIA"] * len(keys), shares, seed)
    for part, share in shares.items():
        images = [key for key, place in zip(keys, chosen, strict=True) if place == part]
        assert len(images) == pytest.approx(share * len(keys), abs=1)
        for size in (1, 2, 6, 20):
            patients = {key for key in images if sizes[int(key)] == size}
            assert len(patients) == pytest.approx(share * sizes.count(size), rel=0.2, abs=1)


def test_a_patient_that_no_small_part_has_room_for_goes_to_the_large_one():
    keys = ["large"] * 30 + [f"small {n}" for n in range(70)]
    chosen = deal_groups(keys, ["NORMAL"] * 100, {"val": 0.1, "test": 0.1, "train": 0.8}, 0)
    assert chosen[0] == "train"
    assert [chosen.count(part) for part in ("val", "test", "train")] == [10, 10, 80]

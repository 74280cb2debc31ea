"""Copies and patients that straddle splits, from a manifest alone."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from pneumoscope.datasets import (
    CopyKind,
    build_manifest,
    count_straddling,
    find_leakage,
    list_duplicates,
    open_collection,
)


@pytest.fixture
def parted(tmp_path, paint):
    """A set in Kaggle's layout, eight images a class and split, without patients or copies."""
    root = tmp_path / "parted"
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            for row in range(8):
                paint(root / split / label / f"{split}-{row}-{label}.png", side=96)
    return root


def _audit(root):
    manifest = build_manifest(open_collection(root))
    return manifest, list_duplicates(manifest), find_leakage(manifest.frame)


def test_a_clean_set_gives_nothing_away(parted):
    manifest, duplicates, leakage = _audit(parted)
    assert duplicates == []
    assert not leakage
    assert manifest.copies == ()


def test_an_exact_copy_in_another_split_is_a_leak(parted):
    source = parted / "train" / "NORMAL" / "train-0-NORMAL.png"
    shutil.copy(source, parted / "test" / "NORMAL" / "copy.png")
    _, duplicates, leakage = _audit(parted)
    (pair,) = duplicates
    assert {pair.a, pair.b} == {str(source), str(parted / "test" / "NORMAL" / "copy.png")}
    assert pair.kind is CopyKind.EXACT
    assert pair.across_splits
    assert not pair.across_labels
    assert "1 set of identical or near-identical images straddles splits" in leakage.describe()


def test_a_recompressed_copy_under_the_other_label_is_near(parted):
    source = parted / "train" / "NORMAL" / "train-3-NORMAL.png"
    Image.open(source).resize((80, 80)).save(parted / "train" / "PNEUMONIA" / "c.jpeg", quality=80)
    _, duplicates, leakage = _audit(parted)
    (pair,) = duplicates
    assert pair.kind is CopyKind.NEAR
    assert pair.across_labels
    assert not pair.across_splits
    assert not leakage


def test_pairs_across_splits_come_first(parted):
    for split, name in (("train", "a"), ("test", "b")):
        source = parted / "train" / "NORMAL" / f"train-{len(name)}-NORMAL.png"
        shutil.copy(source, parted / split / "NORMAL" / f"{name}.png")
    shutil.copy(
        parted / "train" / "NORMAL" / "train-5-NORMAL.png", parted / "train" / "NORMAL" / "0.png"
    )
    _, duplicates, _ = _audit(parted)
    crossing = [pair.across_splits for pair in duplicates]
    assert crossing == sorted(crossing, reverse=True)
    assert any(crossing)
    assert not all(crossing)


def test_a_patient_in_two_splits_is_counted_by_split(parted, paint):
    for split, number in (("train", 1), ("train", 2), ("test", 3)):
        paint(parted / split / "PNEUMONIA" / f"person7_virus_{number}.png", side=96)
    paint(parted / "test" / "PNEUMONIA" / "person7_bacteria_1.png", side=96)  # another patient
    manifest, _, leakage = _audit(parted)
    assert count_straddling(manifest.frame) == {"virus-7": {"train": 2, "test": 1}}
    assert leakage.patients == ("virus-7",)
    assert "1 patient is in more than one split, such as virus-7" in leakage.describe()


def test_images_without_splits_straddle_nothing(kermany):
    folder = kermany(3)
    shutil.copy(folder / "NORMAL" / "IM-0001-0001.png", folder / "NORMAL" / "IM-0002-0009.png")
    _, duplicates, leakage = _audit(folder)
    assert [pair.across_splits for pair in duplicates] == [False]
    assert not leakage

"""The Kaggle set itself, where the environment names a copy: the numbers that are known of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pneumoscope.datasets import (
    Collection,
    Grouping,
    Layout,
    assign_splits,
    build_manifest,
    count_images,
    count_leaked,
    open_collection,
)

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def found(real_data: Path) -> Collection:
    return open_collection(real_data)


def test_all_images_are_found_and_their_names_understood(found: Collection) -> None:
    assert found.layout is Layout.KAGGLE
    assert Counter(item.label for item in found.items) == {"NORMAL": 1349, "PNEUMONIA": 3883}
    assert not found.skipped
    assert all(item.patient for item in found.items)
    series = Counter(item.patient.rpartition("-")[0] for item in found.items)
    assert set(series) == {"IM", "NORMAL2-IM", "bacteria", "virus"}


@pytest.mark.slow
def test_the_whole_set_is_described_and_split_without_tearing_patients(found: Collection) -> None:
    manifest = build_manifest(found)
    assert manifest.frame.height == 5232
    assert not manifest.excluded
    pairs = int(manifest.notes[0].removesuffix(".").split()[-1])
    assert 28 <= pairs <= 45  # 28 pairs are known to correlate above 0.999
    for grouping in (Grouping.PATIENT, Grouping.BLOCK):
        frame = assign_splits(manifest.frame, grouping=grouping, seed=1)
        assert count_leaked(frame) == 0
        for column in ("patient", "group"):
            parts = frame.select(column, "split").unique()
            assert parts[column].n_unique() == parts.height
        counts = count_images(frame)
        for label, total in (("NORMAL", 1349), ("PNEUMONIA", 3883)):
            assert counts["train"][label] == pytest.approx(0.8 * total, rel=0.03)
    by_image = assign_splits(manifest.frame, grouping=Grouping.IMAGE, seed=1)
    assert count_leaked(by_image) > 150  # of 523: the widespread split

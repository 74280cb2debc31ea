"""A split file is drawn once, read by everything that takes data, and never overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pneumoscope.datasets import (
    Grouping,
    build_manifest,
    find_leakage,
    open_collection,
    read_folds,
    resolve_splits,
    save_split,
)
from pneumoscope.errors import DataError

Paint = Callable[..., Path]


def _splits(frame: pl.DataFrame) -> dict[str, str]:
    return dict(frame.select("path", "split").iter_rows())


@pytest.mark.parametrize("grouping", [Grouping.PATIENT, Grouping.BLOCK, Grouping.IMAGE])
@pytest.mark.parametrize("ratios", [(60, 20, 20), (70, 30, 0)])
def test_a_saved_split_is_taken_as_it_is(
    kermany: Callable[..., Path], tmp_path: Path, grouping: Grouping, ratios: tuple
) -> None:
    saved = save_split(kermany(12), tmp_path / "s.csv", ratios=ratios, grouping=grouping, seed=4)
    found = open_collection(saved.file)
    before = build_manifest(found).frame
    # Whatever recipe and seed a run has.
    after = resolve_splits(before, found.layout, ratios=(80, 10, 10), seed=99).frame
    assert _splits(after) == {item.ref: item.split for item in found.items}
    counted = after.group_by("split", "label").len()
    for split, label, n in counted.iter_rows():
        assert saved.counts[split][label] == n
    assert bool(find_leakage(after)) == (grouping is Grouping.IMAGE)
    assert before["patient"].null_count() == 0
    assert set(before["source"]) == {"collection"}


def test_a_saved_split_moves_with_its_images(kermany: Callable[..., Path], tmp_path: Path) -> None:
    kermany(8, tmp_path / "a" / "images")
    save_split(tmp_path / "a" / "images", tmp_path / "a" / "s.csv", folds=4)
    shutil.move(tmp_path / "a", tmp_path / "b")
    found = open_collection(tmp_path / "b" / "s.csv")
    assert len(found.items) == 64
    folds = {item.ref: item.fold for item in found.items}
    assert folds == read_folds(tmp_path / "b" / "s.csv")
    assert set(folds.values()) == {"0", "1", "2", "3"}


def test_twice_is_once_and_another_split_is_refused(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    source, file = kermany(), tmp_path / "s.csv"
    assert save_split(source, file, seed=1).changed
    stamp = file.stat().st_mtime_ns
    again = save_split(source, file, seed=1)
    assert not again.changed
    assert any("nothing was changed" in note for note in again.notes)
    for other in ({"seed": 2}, {"seed": 1, "folds": 2}, {"seed": 1, "grouping": Grouping.IMAGE}):
        with pytest.raises(DataError, match="holds another split"):
            save_split(source, file, **other)
    assert file.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("name", ["split.parquet", "split", "folder.csv"])
def test_a_split_file_is_a_csv(kermany: Callable[..., Path], tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"call it NAME\.csv"):
        save_split(kermany(), tmp_path / name)


def test_sites_come_from_a_manifest(tmp_path: Path, paint: Paint) -> None:
    rows = []
    for number in range(48):
        paint(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{number % 2},p{number // 2 * 2 + number % 2},h{number // 12}\n")
    (tmp_path / "data.csv").write_text("path,label,patient,site\n" + "".join(rows))
    saved = save_split(tmp_path / "data.csv", tmp_path / "s.csv", grouping=Grouping.SITE, seed=3)
    table = pl.read_csv(saved.file)
    assert table.group_by("source").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(table["source"]) == {"h0", "h1", "h2", "h3"}
    assert any(note.startswith("Sites: train h") for note in saved.notes)
    folds = save_split(tmp_path / "data.csv", tmp_path / "f.csv", grouping=Grouping.SITE, folds=4)
    assert len(pl.read_csv(folds.file).select("source", "fold").unique()) == 4


def test_a_damaged_split_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b"\0\0\n")
    for file in (tmp_path / "s.csv", tmp_path / "none.csv"):
        with pytest.raises(DataError, match="not a readable split file"):
            read_folds(file)

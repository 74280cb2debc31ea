"""Reorganising makes exactly the folders it promises, the same ones every time, or none."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from pneumoscope._files import clear_caches
from pneumoscope.cli import app
from pneumoscope.datasets import (
    LABELS,
    SPLITS,
    CollectionOptions,
    Grouping,
    LinkMode,
    open_collection,
    read_manifest,
    reorganize,
)
from pneumoscope.errors import DataError

Paint = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def _list(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _images(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in _list(folder).items() if name.endswith(".png")}


def test_exactly_these_folders_and_a_manifest_are_made(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = kermany(20), tmp_path / "out"
    before = _list(source)
    result = reorganize(source, out)
    assert result.changed
    assert result.destination == out
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_dir()} == {
        *SPLITS,
        *(f"{split}/{label}" for split in SPLITS for label in LABELS),
    }
    assert {p.name for p in out.iterdir() if p.is_file()} == {
        "manifest.parquet",
        ".reorganization.json",
    }
    frame = read_manifest(out / "manifest.parquet")
    assert sorted(frame["path"]) == sorted(str(out / name) for name in _images(out))
    assert all(
        Path(path).parts[-3:-1] == (split, label)
        for path, split, label in frame.select("path", "split", "label").iter_rows()
    )
    assert sorted(_images(out).values()) == sorted(before.values())
    assert _list(source) == before
    for label in LABELS:
        counts = [result.counts[split][label] for split in SPLITS]
        assert counts == pytest.approx([64, 8, 8], abs=2)
    assert frame.group_by("patient").agg(pl.col("split").n_unique())["split"].max() == 1


def test_ratios_are_followed_and_a_share_of_nothing_leaves_a_folder_empty(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    result = reorganize(kermany(20), tmp_path / "out", ratios=(50, 0, 50))
    assert result.counts["val"] == {"NORMAL": 0, "PNEUMONIA": 0}
    assert result.counts["train"] == result.counts["test"] == {"NORMAL": 40, "PNEUMONIA": 40}
    assert (tmp_path / "out" / "val" / "NORMAL").is_dir()


def test_the_same_images_anywhere_give_the_same_tree(
    kermany: Callable[..., Path], tmp_path: Path, paint: Paint
) -> None:
    """Also where equal names collide, equal files lie twice, or nothing names a patient."""
    one = kermany(10)
    for label in LABELS:
        for study in "abc":
            paint(one / label / study / "same.png")
        shutil.copytree(one / label / "a", one / label / "z")
    two = tmp_path / "elsewhere" / "collection"
    shutil.copytree(one, two)
    for grouping in set(Grouping) - {Grouping.SITE}:  # a folder is one site
        made = [tmp_path / f"{grouping}-{name}" for name in ("one", "two")]
        reorganize(one, made[0], grouping=grouping, seed=3)
        reorganize(two, made[1], grouping=grouping, seed=3)
        assert _list(made[0]) == _list(made[1])
        assert len(_images(made[0])) == 80 + 8
        reorganize(two, made[0], grouping=grouping, seed=3)  # the same, as far as it can tell


def test_another_seed_gives_another_tree(kermany: Callable[..., Path], tmp_path: Path) -> None:
    source = kermany(10)
    reorganize(source, tmp_path / "one", seed=1)
    reorganize(source, tmp_path / "two", seed=2)
    assert set(_images(tmp_path / "one")) != set(_images(tmp_path / "two"))


def test_twice_changes_nothing(kermany: Callable[..., Path], tmp_path: Path) -> None:
    source, out = kermany(), tmp_path / "out"
    reorganize(source, out)
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    result = reorganize(source, out)
    assert not result.changed
    assert any("nothing was changed" in note for note in result.notes)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == stamps
    assert {p.name for p in tmp_path.iterdir()} == {"collection", "out"}


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"ratios": (70, 20, 10)},
        {"grouping": Grouping.IMAGE},
        {"link": LinkMode.COPY},
    ],
)
def test_other_settings_need_another_folder(
    kermany: Callable[..., Path], tmp_path: Path, other: dict[str, object]
) -> None:
    source, out = kermany(), tmp_path / "out"
    reorganize(source, out)
    before = _list(out)
    with pytest.raises(DataError, match="made with other settings or images: remove it, or"):
        reorganize(source, out, **other)
    assert _list(out) == before


def test_other_images_need_another_folder(
    kermany: Callable[..., Path], tmp_path: Path, paint: Paint
) -> None:
    source, out = kermany(), tmp_path / "out"
    reorganize(source, out)
    paint(source / "NORMAL" / "IM-0099-0001.png")
    with pytest.raises(DataError, match="made with other settings or images"):
        reorganize(source, out)


def test_a_foreign_folder_is_never_touched(kermany: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else: remove it, or choose another"):
        reorganize(kermany(), tmp_path / "out")
    assert _list(tmp_path / "out") == {"thesis.txt": b"mine"}
    with pytest.raises(DataError, match="is a file: choose a folder"):
        reorganize(tmp_path / "collection", tmp_path / "out" / "thesis.txt")


def test_a_folder_that_lost_files_is_not_taken_for_whole(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = kermany(), tmp_path / "out"
    reorganize(source, out)
    lost = next((out / "test" / "NORMAL").iterdir())
    lost.unlink()
    with pytest.raises(DataError, match=f"lost 1 files, such as test/NORMAL/{lost.name}"):
        reorganize(source, out)


def test_an_empty_folder_may_be_the_destination(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert reorganize(kermany(), tmp_path / "link").changed
    assert (tmp_path / "real" / "manifest.parquet").is_file()


@pytest.mark.parametrize(
    "inside", ["", "split", "NORMAL/split", "../collection/split", "../link/x"]
)
def test_the_destination_cannot_lie_within_the_source(
    kermany: Callable[..., Path], tmp_path: Path, inside: str
) -> None:
    source = kermany()
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(DataError, match=r"lies within .* choose a destination outside"):
        reorganize(source, source / inside)


def test_a_way_that_only_passes_the_source_is_fine(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    assert reorganize(kermany(), tmp_path / "collection" / ".." / "out").changed


# -- links ---------------------------------------------------------------------------------------


def test_hard_links_take_no_space_and_outlive_the_source(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    source = kermany()
    result = reorganize(source, tmp_path / "out", link=LinkMode.HARD)
    inodes = {p.stat().st_ino for p in source.rglob("*.png")}
    assert {p.stat().st_ino for p in (tmp_path / "out").rglob("*.png")} == inodes
    assert not any("copied" in note for note in result.notes)
    shutil.rmtree(source)
    assert len(open_collection(tmp_path / "out").items) == 48


def test_symbolic_links_point_to_the_source(kermany: Callable[..., Path], tmp_path: Path) -> None:
    source = kermany()
    reorganize(source, tmp_path / "out", link=LinkMode.SYM)
    links = list((tmp_path / "out").rglob("*.png"))
    assert all(link.is_symlink() for link in links)
    assert {link.resolve() for link in links} == set(source.rglob("*.png"))
    assert len(open_collection(tmp_path / "out").items) == 48
    source.rename(tmp_path / "gone")
    with pytest.raises(DataError, match="holds no labelled images"):
        open_collection(tmp_path / "out")


def test_copies_are_files_of_their_own(kermany: Callable[..., Path], tmp_path: Path) -> None:
    source = kermany()
    result = reorganize(source, tmp_path / "out", link=LinkMode.COPY)
    inodes = {p.stat().st_ino for p in source.rglob("*.png")}
    assert not inodes & {p.stat().st_ino for p in (tmp_path / "out").rglob("*.png")}
    assert not any("copied" in note for note in result.notes)  # as asked


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_hard_links_across_disks_become_copies_and_that_is_said(
    kermany: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    result = reorganize(kermany(), tmp_path / "out")
    assert any("48 files were copied: they lie on another disk" in note for note in result.notes)
    assert len(_images(tmp_path / "out")) == 48


def test_a_full_disk_leaves_nothing(
    kermany: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = kermany()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(DataError, match="cannot be made: No space left on device"):
        reorganize(source, tmp_path / "out", link=LinkMode.COPY)
    assert {p.name for p in tmp_path.iterdir()} == {"collection"}


# -- what is split -------------------------------------------------------------------------------


def test_a_split_by_image_says_how_much_it_leaks(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    result = reorganize(kermany(20), tmp_path / "out", grouping=Grouping.IMAGE)
    assert any("have their patient in train: numbers" in note for note in result.notes)


def test_blocks_are_held_out_as_wholes(kermany: Callable[..., Path], tmp_path: Path) -> None:
    reorganize(kermany(20), tmp_path / "out", grouping=Grouping.BLOCK)
    frame = read_manifest(tmp_path / "out" / "manifest.parquet")
    assert frame["block"].n_unique() == 40
    assert frame.group_by("block").agg(pl.col("split").n_unique())["split"].max() == 1


def test_a_part_is_taken_and_said(kermany: Callable[..., Path], tmp_path: Path) -> None:
    result = reorganize(kermany(20), tmp_path / "out", limit=60)
    total = sum(n for counts in result.counts.values() for n in counts.values())
    assert abs(total - 60) <= 4
    assert any(f"A part is taken: {total} of 160 images." in note for note in result.notes)


def test_too_few_images_are_one_sentence_and_leave_nothing(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="has no NORMAL image: bring more images or patients"):
        reorganize(kermany(1), tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"collection"}


def test_unreadable_images_are_left_out_and_listed(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    source = kermany()
    (source / "NORMAL" / "bad.png").write_bytes(b"bad")
    (source / "NORMAL" / "notes.txt").write_bytes(b"notes")
    result = reorganize(source, tmp_path / "out")
    assert {Path(entry.path).name for entry in result.excluded} == {"bad.png", "notes.txt"}
    assert len(_images(tmp_path / "out")) == 48


def test_other_class_names_become_the_two(tmp_path: Path, paint: Paint) -> None:
    for i in range(20):
        paint(tmp_path / "set" / "sain" / f"{i}.png")
        paint(tmp_path / "set" / "malade" / f"{i}.png")
    reorganize(tmp_path / "set", tmp_path / "out", options=CollectionOptions(positive="malade"))
    assert len(list((tmp_path / "out").glob("*/PNEUMONIA/*.png"))) == 20
    assert len(list((tmp_path / "out").glob("*/NORMAL/*.png"))) == 20


def test_an_archive_is_reorganised(kermany: Callable[..., Path], tmp_path: Path) -> None:
    source = kermany()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for name, data in _list(source).items():
            file.writestr(f"set/train/{name}", data)
    reorganize(tmp_path / "set.zip", tmp_path / "out")
    assert sorted(_images(tmp_path / "out").values()) == sorted(_list(source).values())


# -- interrupted ---------------------------------------------------------------------------------

KILLED = """
import sys
from pneumoscope.datasets import LinkMode, reorganize
reorganize(sys.argv[1], sys.argv[2], link=LinkMode.COPY)
"""


@pytest.mark.parametrize("moment", [0, 1, 300])
def test_a_kill_leaves_nothing_that_looks_whole(
    kermany: Callable[..., Path], tmp_path: Path, moment: int
) -> None:
    source, home = kermany(80), tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(home / "out")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    staged = "" if moment == 0 else "*/*/*.png"
    while len(list(home.glob(f".out.part-*/{staged}"))) < max(moment, 1):
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    assert not (home / "out").exists()
    assert reorganize(source, home / "out", link=LinkMode.COPY).changed
    assert len(_images(home / "out")) == 640
    assert {p.name for p in home.iterdir()} == {"out"}  # what the killed run left is gone


def test_what_another_run_is_building_is_let_be(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    living = tmp_path / f".out.part-{os.getppid()}-abc"
    living.mkdir()
    reorganize(kermany(), tmp_path / "out")
    assert living.is_dir()


# -- the commands --------------------------------------------------------------------------------


def test_the_command_says_what_it_found_and_made(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = kermany(20), tmp_path / "out"
    result = CliRunner().invoke(app, ["data", "reorganize", str(source), str(out)])
    assert result.exit_code == 0, result.output
    assert "has the layout 'folders': 80 NORMAL, 80 PNEUMONIA." in result.output
    assert str(out) in result.stdout.splitlines()
    (source / "NORMAL" / "bad.png").write_bytes(b"bad")
    result = CliRunner().invoke(app, ["data", "reorganize", str(source), str(out), "--quiet"])
    assert result.exit_code == 1  # the rest is as it was, but one image was left out
    assert "1 image was left out:" in result.stderr
    assert "bad.png" in result.stderr


def test_reorganize_data_works_from_another_folder(
    kermany: Callable[..., Path], tmp_path: Path
) -> None:
    kermany(20)
    result = subprocess.run(
        [sys.executable, str(ROOT / "reorganize_data.py"), "collection", "--seed", "4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    out = tmp_path / "data" / "chest_xray_reorganized"
    assert len(_images(out)) == 160
    assert json.loads((out / ".reorganization.json").read_text())["seed"] == 4


def test_reorganize_data_answers_misuse_with_one_sentence_and_code_2(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "reorganize_data.py"), "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: nowhere does not exist")
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_links_never_point_into_the_cache(kermany: Callable[..., Path], tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "set"), "zip", kermany()))
    result = reorganize(archive, tmp_path / "out", link=LinkMode.SYM)
    assert any("Hard links are made" in note for note in result.notes)
    clear_caches()
    assert all(path.read_bytes() for path in (tmp_path / "out").rglob("*.png"))
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))

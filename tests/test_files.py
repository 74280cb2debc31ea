"""Writing on a full disk says so in one sentence, and leaves what was there."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NoReturn

import pytest

from pneumoscope._files import build_folder, rebuild_folder, write_atomically


def _fail(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def _build_and_fail(folder: Path) -> None:
    with build_folder(folder) as staging:
        (staging / "file").write_text("x")
        _fail()


def test_a_full_disk_names_the_file_and_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.json"
    write_atomically(file, "old")
    monkeypatch.setattr(Path, "write_bytes", _fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(file, "new")
    assert caught.value.filename == str(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    with build_folder(tmp_path / "out") as staging:
        (staging / "file").write_text("x")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "file").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        _build_and_fail(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_only_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".out.part-999999999-a", tmp_path / ".out.part-1-b"
    other = tmp_path / ".other.part-999999999-a"
    for folder in (dead, alive, other):
        folder.mkdir()
    with build_folder(tmp_path / "out"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([alive.name, other.name, "out"])


def test_a_folder_is_made_anew_at_once_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    for name in ("a", "b", "notes"):
        (tmp_path / name).write_text("old")
    with rebuild_folder(tmp_path, {"a", "b", "c"}, last="a") as staging:
        (staging / "a").write_text("new")
        (staging / "c").mkdir()
        assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "notes"]


def test_a_folder_whose_making_fails_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def make() -> None:
        with rebuild_folder(tmp_path, {"a"}, last="a") as staging:
            (staging / "a").write_text("new")
            _fail()

    with pytest.raises(OSError, match="No space left") as caught:
        make()
    assert caught.value.filename == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"

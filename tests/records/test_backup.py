"""A backup is the whole record; what is restored equals it, on either database, or is not there."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import tempfile
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from pneumoscope.errors import RecordError
from pneumoscope.records import Record
from pneumoscope.records.accounts import add_user
from pneumoscope.records.backup import TABLES, back_up
from pneumoscope.records.credentials import create_token, sign_in
from pneumoscope.records.forgetting import forget_study
from pneumoscope.records.restoring import restore
from pneumoscope.records.tables import Role, Session
from pneumoscope.records.verification import verify_record
from pneumoscope.runtime import Decision

PASSWORD = "four words that rhyme"


def _read_all(record):
    """Return every row of every table that a backup keeps, as the session reads it."""
    with record.read() as session:
        return {
            table.name: [
                dict(row._mapping)
                for row in session.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in TABLES
        }


@pytest.fixture
def full(record, file, quick_passwords):
    """A record with some of everything."""
    for number in range(3):
        label = "NORMAL" if number else None
        file(record, b"image %d" % number, label=label, patient="änne", taken_on=date(2026, 1, 2))
    file(record, b"image 0", again=True, decision=Decision.REFER)
    file(record, b"waits", decision=None)
    forget_study(record, file(record, b"gone").study)
    with record.begin() as session:
        add_user(session, "ada", PASSWORD, Role.ADMIN)
        create_token(session, "ward", Role.READER)
    return record


@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_a_restored_record_equals_its_original_on_either_database(
    full, target, tmp_path, postgresql_database
):
    calls = []
    backup = back_up(full, tmp_path / "backup", progress=lambda *call: calls.append(call))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (backup.images, backup.left_out) == (4, ())
    address = postgresql_database() if target == "postgresql" else None
    calls.clear()
    found = restore(
        tmp_path / "new", address, tmp_path / "backup", progress=lambda *call: calls.append(call)
    )
    assert found.problems == ()
    assert calls == [(number, 8) for number in range(1, 9)]
    with Record(tmp_path / "new", address) as restored:
        assert _read_all(restored) == _read_all(full)
        assert list(restored.images.walk()) == list(full.images.walk())
        assert restored.head.read() == full.head.read()
        assert verify_record(restored, images=True).problems == ()


def test_what_is_restored_goes_on(full, file, tmp_path):
    back_up(full, tmp_path / "backup")
    restore(tmp_path / "new", None, tmp_path / "backup")
    with Record(tmp_path / "new") as restored:
        file(restored, b"another", label="NORMAL")
        file(restored, b"waits")
        assert verify_record(restored, images=True).problems == ()


def test_nobody_is_signed_in_after_a_restore(record, tmp_path):
    with record.begin() as session:
        add_user(session, "ada", PASSWORD, Role.ADMIN)
    assert sign_in(record, "ada", PASSWORD)
    back_up(record, tmp_path / "backup")
    restore(tmp_path / "new", None, tmp_path / "backup")
    with Record(tmp_path / "new") as restored:
        with restored.read() as session:
            assert session.scalars(select(Session)).all() == []
        assert sign_in(restored, "ada", PASSWORD)


@pytest.mark.parametrize("name", ["new?mode=ro", "new#1", "new%41 @:b"])
def test_a_folder_whose_name_an_address_would_read_otherwise_gets_all_rows(
    sqlite_record, file, tmp_path, name
):
    file(sqlite_record, label="NORMAL")
    back_up(sqlite_record, tmp_path / "back?up#1")
    place = tmp_path / "outer" / name
    found = restore(place, None, tmp_path / "back?up#1")
    assert (found.problems, found.answers, found.readings) == ((), 1, 1)
    assert [path.name for path in place.parent.iterdir()] == [name]
    with Record(place) as restored:
        assert _read_all(restored) == _read_all(sqlite_record)


def test_a_backup_is_closed_to_others(sqlite_record, file, tmp_path):
    file(sqlite_record)
    back_up(sqlite_record, tmp_path / "backup")
    restore(tmp_path / "new", None, tmp_path / "backup")
    folders = [tmp_path / "backup", tmp_path / "backup" / "tables", tmp_path / "new"]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_the_files_of_a_record_are_closed_to_others(sqlite_record, file, tmp_path):
    """Also where its folder is opened to a group: keys of patients lie in the database."""
    file(sqlite_record, patient="anna")
    back_up(sqlite_record, tmp_path / "backup")
    restore(tmp_path / "new", None, tmp_path / "backup")
    elsewhere = tmp_path / "elsewhere" / "head.json"
    with (
        Record(tmp_path / "new") as restored,
        Record(
            tmp_path / "other", f"sqlite:///{tmp_path / 'other.sqlite'}", head=elsewhere
        ) as other,
    ):
        file(restored, b"two")
        file(other)
        modes = {
            path.name: path.stat().st_mode & 0o777
            for place in (sqlite_record.folder, restored.folder, tmp_path, elsewhere.parent)
            for pattern in ("*.sqlite*", "head.json")
            for path in place.glob(pattern)
        }
    names = [name + end for name in ("record", "other") for end in (".sqlite", ".sqlite-wal")]
    assert set(names) | {"head.json"} < set(modes)
    assert set(modes.values()) == {0o600}


def test_it_shows_one_state_while_the_record_is_used(sqlite_record, file, tmp_path, monkeypatch):
    """Images come and go between the first copy of images and the snapshot of the tables."""
    from pneumoscope.records import backup as module

    first, second = file(sqlite_record, b"one"), file(sqlite_record, b"two")
    original = module._read_head

    def disturb(record):
        forget_study(record, first.study)
        file(record, b"three")
        return original(record)

    monkeypatch.setattr(module, "_read_head", disturb)
    assert back_up(sqlite_record, tmp_path / "backup").images == 2
    assert restore(tmp_path / "new", None, tmp_path / "backup").problems == ()
    with Record(tmp_path / "new") as restored:
        assert list(restored.images.walk()) == list(sqlite_record.images.walk())
        assert restored.images.holds(second.image)
        assert _read_all(restored) == _read_all(sqlite_record)


def test_images_that_are_damaged_are_left_out_and_named(sqlite_record, file, tmp_path):
    lost, changed = file(sqlite_record, b"one"), file(sqlite_record, b"two")
    file(sqlite_record, b"three")
    sqlite_record.images.find(lost.image).unlink()
    sqlite_record.images.find(changed.image).write_bytes(b"owt")
    backup = back_up(sqlite_record, tmp_path / "backup")
    assert set(backup.left_out) == {lost.image, changed.image}
    assert backup.images == 1
    problems = restore(tmp_path / "new", None, tmp_path / "backup").problems
    assert set(problems) == {
        f"The image {image} is missing." for image in (lost.image, changed.image)
    }


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE predictions SET probability = 0.01",
        "DELETE FROM log WHERE seq > 1",
        "UPDATE log SET event = 'other' WHERE seq = 1",
    ],
)
def test_tampering_is_not_washed_off_by_a_backup(sqlite_record, file, tmp_path, statement):
    for number in range(3):
        file(sqlite_record, b"image %d" % number)
    with sqlite_record.database.begin() as session:
        session.execute(text(statement))
    before = verify_record(sqlite_record).problems
    assert before
    back_up(sqlite_record, tmp_path / "backup")
    assert restore(tmp_path / "new", None, tmp_path / "backup").problems == before


def test_rows_whose_study_was_deleted_are_restored_where_the_database_takes_them(
    sqlite_record, file, tmp_path, postgresql
):
    file(sqlite_record)
    with closing(sqlite3.connect(sqlite_record.folder / "record.sqlite")) as tool, tool:
        tool.execute("DELETE FROM studies")
    before = verify_record(sqlite_record).problems
    assert "which has no row" in before[0]
    back_up(sqlite_record, tmp_path / "backup")
    with pytest.raises(RecordError, match=r"The new database cannot be used: .* foreign key"):
        restore(tmp_path / "new", postgresql, tmp_path / "backup")
    assert {path.name for path in tmp_path.iterdir()} == {"record", "backup"}
    assert restore(tmp_path / "new", None, tmp_path / "backup").problems == before


def test_a_head_that_was_taken_away_stays_away(sqlite_record, file, tmp_path):
    file(sqlite_record)
    for change in (lambda path: path.write_text("nonsense"), lambda path: path.unlink()):
        change(sqlite_record.head.path)
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            back_up(sqlite_record, Path(place) / "backup")
            problems = restore(Path(place) / "new", None, Path(place) / "backup").problems
        assert "head.json is missing" in problems[0]


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGES = [
    ("images/*/*", _flip, "the image [0-9a-f]{64} is not what it was"),
    ("images/*/*", Path.unlink, "the image [0-9a-f]{64} is not what it was"),
    ("tables/predictions.jsonl", _flip, "its table predictions is not what it was"),
    ("tables/log.jsonl", Path.unlink, "its table log is missing"),
    ("backup.json", Path.unlink, "is no backup: it has no readable backup.json"),
    ("backup.json", lambda file: file.write_text("{}"), "is damaged, or not of this version"),
    ("backup.json", lambda file: file.write_text("[]"), "is damaged, or not of this version"),
]


@pytest.mark.parametrize(("pattern", "damage", "sentence"), DAMAGES)
def test_a_damaged_backup_is_refused_before_anything_is_written(
    sqlite_record, file, tmp_path, pattern, damage, sentence
):
    file(sqlite_record)
    back_up(sqlite_record, tmp_path / "backup")
    damage(next((tmp_path / "backup").glob(pattern)))
    with pytest.raises(RecordError, match=sentence):
        restore(tmp_path / "new", None, tmp_path / "backup")
    assert {path.name for path in tmp_path.iterdir()} == {"record", "backup"}


def test_a_backup_of_another_version_is_refused(sqlite_record, tmp_path):
    back_up(sqlite_record, tmp_path / "backup")
    said = json.loads((tmp_path / "backup" / "backup.json").read_text())
    for change in ({"revision": "9999"}, {"tables": {}}):
        (tmp_path / "backup" / "backup.json").write_text(json.dumps(said | change))
        with pytest.raises(RecordError, match="restore it with that version"):
            restore(tmp_path / "new", None, tmp_path / "backup")


def test_nothing_is_written_over(full, database, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(RecordError, match=r"A backup goes into a new folder, and .* is there"):
        back_up(full, tmp_path / "taken")
    back_up(full, tmp_path / "backup")
    with pytest.raises(RecordError, match=r"A record goes into a new folder, and .* is there"):
        restore(tmp_path / "taken", None, tmp_path / "backup")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["file"]
    other = database or f"sqlite:///{full.folder / 'record.sqlite'}"
    before = _read_all(full)
    with pytest.raises(RecordError, match="holds a record: name an empty database"):
        restore(tmp_path / "new", other, tmp_path / "backup")
    assert _read_all(full) == before
    assert not (tmp_path / "new").exists()


def test_a_database_that_lost_a_table_is_no_place_to_restore_into(sqlite_record, tmp_path):
    back_up(sqlite_record, tmp_path / "backup")
    place = f"sqlite:///{tmp_path / 'other.sqlite'}"
    with Record(tmp_path / "other", place) as other, other.database.begin() as session:
        session.execute(text("DROP TABLE readings"))
    with pytest.raises(RecordError, match="cannot be used: no such table: readings; "):
        restore(tmp_path / "new", place, tmp_path / "backup")
    assert not (tmp_path / "new").exists()


def test_a_backup_within_the_record_is_refused(sqlite_record, tmp_path):
    (tmp_path / "link").symlink_to(sqlite_record.folder)
    for place in ("record/backup", "record/images/deep/backup", "link/backup", "record/../link/b"):
        with pytest.raises(RecordError, match=r"lies within .* name a folder elsewhere"):
            back_up(sqlite_record, tmp_path / place)
    assert not list(sqlite_record.folder.rglob("*backup*"))
    back_up(sqlite_record, tmp_path / "record-backup")


@pytest.mark.parametrize("work", ["back up", "restore"])
def test_a_full_disk_leaves_nothing_half(full, database, tmp_path, monkeypatch, work):
    back_up(full, tmp_path / "backup")
    kept = {path.name for path in tmp_path.iterdir()}
    calls = []

    def fill(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pneumoscope.records.backup.os.fsync", fill)
    works = {
        "back up": lambda: back_up(full, tmp_path / "another"),
        "restore": lambda: restore(tmp_path / "new", None, tmp_path / "backup"),
    }
    with pytest.raises(OSError, match="No space left") as caught:
        works[work]()
    assert str(tmp_path) in str(caught.value.filename)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_restore_that_fails_leaves_the_other_database_empty(
    sqlite_record, file, tmp_path, monkeypatch, postgresql
):
    for number in range(3):
        file(sqlite_record, b"image %d" % number)
    back_up(sqlite_record, tmp_path / "backup")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pneumoscope.records.restoring.copy_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path / "new", postgresql, tmp_path / "backup")
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    assert restore(tmp_path / "new", postgresql, tmp_path / "backup").problems == ()


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_STUDY = st.fixed_dictionaries(
    {
        "data": st.binary(min_size=1, max_size=30),
        "name": _TEXT,
        "patient": st.none() | _TEXT,
        "decision": st.none() | st.sampled_from(list(Decision)),
        "label": st.none() | st.sampled_from(["NORMAL", "PNEUMONIA"]),
        "taken_on": st.none() | st.dates(),
        "again": st.just(True),
    }
)


@given(st.lists(_STUDY, max_size=6))
@settings(
    max_examples=8,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # each example writes to the disk: too slow to shrink
)
def test_whatever_was_filed_comes_back(file, studies):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with Record(place / "record") as record:
            for study in studies:
                file(record, **study)
            back_up(record, place / "backup")
            assert restore(place / "new", None, place / "backup").problems == ()
            with Record(place / "new") as restored:
                assert _read_all(restored) == _read_all(record)

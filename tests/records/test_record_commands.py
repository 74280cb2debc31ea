"""`pneumoscope record`: what it says, how it ends, and what it does only when told to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from pneumoscope.cli import main
from pneumoscope.records import Record, list_labelled
from pneumoscope.records.database import REVISION


class Answer(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, database):
    """Run `pneumoscope record` on the record in `record`, as its entry point does."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("PNEUMOSCOPE_RECORD", str(tmp_path / "record"))
    if database:
        monkeypatch.setenv("PNEUMOSCOPE_DATABASE", database)

    def run(*arguments, typed=None):
        monkeypatch.setattr("sys.argv", ["pneumoscope", "record", *map(str, arguments)])
        stdin = io.TextIOWrapper(io.BytesIO((typed or "").encode()))
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr(stdin, "isatty", lambda: typed in {"y\n", "n\n"}, raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        return Answer(code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


def test_a_record_is_shown_without_its_password(run, record, file):
    file(record, label="NORMAL", patient="anna-4711")
    answer = run("show")
    assert answer.code == 0
    assert str(record.folder) in answer.out
    lines = dict(line.split(maxsplit=1) for line in answer.out.splitlines())
    assert [lines[name] for name in ("studies", "readings", "log", "users")] == ["1", "1", "2", "0"]
    assert "anna" not in answer.out


def test_verify_ends_with_1_where_something_is_wrong(run, record, file):
    file(record, label="NORMAL")
    answer = run("verify", "--images")
    assert (answer.code, answer.out) == (
        0, "2 log entries, 1 answer, 1 reading, 1 image: all as written.\n",
    )  # fmt: skip
    with record.database.begin() as session:
        session.execute(text("UPDATE readings SET label = 'PNEUMONIA'"))
    answer = run("verify")
    assert answer.code == 1
    assert "was changed.\n" in answer.out
    assert answer.out.endswith(": 1 problem.\n")


@pytest.mark.parametrize(
    "statement", ["DROP TABLE readings", "ALTER TABLE readings DROP COLUMN comment"]
)
def test_a_table_that_was_taken_away_is_told_in_a_sentence(run, record, statement, tmp_path):
    with record.database.begin() as session:
        session.execute(text(statement))
    for arguments in (["verify"], ["backup", tmp_path / "backup"]):
        answer = run(*arguments)
        assert answer.code == 2
        assert answer.err.startswith("error: ")
        assert "readings" in answer.err
        assert "restore a backup" in answer.err
        assert answer.err.count("\n") == 1


def test_a_head_is_accepted_on_request_only(run, record, file):
    file(record)
    record.head.path.unlink()
    assert run("verify").code == 1
    refused = run("accept")
    assert refused.code == 2
    assert "say so with --yes" in refused.err
    assert run("accept", typed="n\n").code == 1
    assert run("verify").code == 1
    assert run("accept", "--yes").code == 0
    assert run("verify").code == 0
    file(record, b"goes on")
    assert run("verify").code == 0


def test_nothing_is_deleted_without_a_word(run, record, file):
    filed = file(record, patient="anna-4711")
    for arguments in (("--patient", "anna-4711"), ("--study", filed.study)):
        refused = run("forget", *arguments)
        assert refused.code == 2
        assert refused.err.startswith("error: This would delete a ")
        assert "say so with --yes" in refused.err
        assert "anna" not in refused.err
    declined = run("forget", "--patient", "anna-4711", typed="n\n")
    assert declined.code == 1
    assert "This deletes a patient with 1 study, for good." in declined.out
    assert record.images.holds(filed.image)
    agreed = run("forget", "--patient", "anna-4711", typed="y\n")
    assert agreed.code == 0
    assert "Deleted 1 study, 1 answer, 0 readings, 1 image.\n" in agreed.out
    assert list(record.images.walk()) == []


def test_a_key_is_read_from_standard_input(run, record, file):
    file(record, patient="anna-4711")
    assert run("forget", "--patient", "-", "--yes", typed="anna-4711\n").code == 0
    gone = run("forget", "--patient", "anna-4711", "--yes")
    assert gone.code == 2
    assert gone.err == "error: There is no patient with this key: check how it is spelt.\n"


@pytest.mark.parametrize("arguments", [(), ("--patient", "a", "--study", "b")])
def test_one_thing_is_forgotten_at_a_time(run, record, arguments):
    answer = run("forget", *arguments)
    assert answer.code == 2
    assert "either a patient with --patient, or a study with --study" in answer.err


def test_what_is_old_is_deleted(run, record, file):
    file(record, b"old")
    file(record, b"new")
    assert run("retain", "--days", 30).out == "No study is older than 30 days.\n"
    with record.database.begin() as session:
        session.execute(
            text("UPDATE studies SET received_at = '2020-01-01' WHERE name = :name"),
            {"name": "chest.png"},
        )
    refused = run("retain", "--days", 30)
    assert "This would delete 2 studies older than 30 days" in refused.err
    assert run("retain", "--days", 30, "--yes").out.startswith("Deleted 2 studies, 2 answers, ")


def test_orphans_are_swept(run, record, file):
    kept = file(record)
    record.images.put(b"never filed")
    refused = run("sweep")
    assert refused.code == 2
    assert "1 file (0.0 MB) without a study" in refused.err
    assert run("sweep", "--yes").out == "Deleted 1 file.\n"
    assert run("sweep").out == "Deleted 0 files.\n"
    assert record.images.holds(kept.image)


def test_a_record_is_backed_up_and_restored(run, record, file, tmp_path, monkeypatch):
    file(record, label="NORMAL")
    made = run("backup", tmp_path / "backup")
    assert made.code == 0
    assert made.out.endswith(f"rows and 1 image in {tmp_path / 'backup'}.\n")
    again = run("backup", tmp_path / "backup")
    assert again.code == 2
    assert "name another" in again.err
    monkeypatch.delenv("PNEUMOSCOPE_DATABASE", raising=False)
    restored = run("restore", tmp_path / "backup", "--record", tmp_path / "new")
    assert (restored.code, restored.err) == (0, "")
    assert restored.out == f"1 answer, 1 reading and 1 image in {tmp_path / 'new'}.\n"
    with Record(tmp_path / "new") as other, other.read() as session:
        assert [row.label for row in list_labelled(session)] == ["NORMAL"]


def test_a_damaged_image_ends_backup_restore_and_export_with_1(run, record, file, tmp_path):
    record.images.find(file(record, label="NORMAL").image).unlink()
    file(record, b"two", label="NORMAL")
    for answer in (run("backup", tmp_path / "backup"), run("export", tmp_path / "out")):
        assert answer.code == 1
        assert answer.err.count("\n") == 1
    place = f"sqlite:///{tmp_path / 'new.sqlite'}"
    answer = run("restore", tmp_path / "backup", "--record", tmp_path / "new", "--database", place)
    assert answer.code == 1
    assert "is missing." in answer.err


def test_labels_are_exported(run, record, file, tmp_path):
    nothing = run("export", tmp_path / "out")
    assert nothing.code == 2
    file(record, label="NORMAL")
    assert run("export", tmp_path / "out").out == f"1 labelled image in {tmp_path / 'out'}.\n"
    assert (tmp_path / "out" / "manifest.csv").is_file()


def test_a_record_is_migrated(run, record):
    record.database.migrate("base")
    assert run("migrate").out == f"{record.folder}: step {REVISION}.\n"
    assert record.database.find_revision() == REVISION


def test_a_mistyped_folder_makes_no_new_record(run, tmp_path, monkeypatch):
    monkeypatch.delenv("PNEUMOSCOPE_DATABASE", raising=False)
    for command in ("show", "verify", "sweep"):
        answer = run(command, "--record", tmp_path / "nowhere")
        assert answer.code == 2
        assert "There is no record in" in answer.err
    assert not Path(tmp_path / "nowhere").exists()

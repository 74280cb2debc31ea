"""A record that is as it was written verifies; whatever is changed behind its back is found."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from pneumoscope.records.accounts import add_user, change_password, remove_user
from pneumoscope.records.credentials import create_token, revoke_token
from pneumoscope.records.log import ORIGIN, append_entry, hash_entry
from pneumoscope.records.record import Record
from pneumoscope.records.tables import JobStudy, Role
from pneumoscope.records.verification import verify_record

PASSWORD = "four words that rhyme"
pytestmark = pytest.mark.usefixtures("quick_passwords")


def _tamper(record, statement, **values):
    with record.database.begin() as session:
        assert session.execute(text(statement), values).rowcount


def test_an_untouched_record_verifies(record, file):
    for number in range(3):
        file(record, b"image %d" % number, label="NORMAL", patient="p")
    waiting = file(record, b"waits", decision=None)
    found = verify_record(record, images=True)
    assert found.problems == ()
    assert (found.entries, found.answers, found.readings, found.images) == (6, 3, 3, 4)
    assert waiting.prediction


def test_an_empty_record_verifies(record):
    assert verify_record(record).problems == ()


def test_accounts_that_come_and_go_verify(record):
    with record.begin() as session:
        add_user(session, "ada", PASSWORD, Role.ADMIN)
        add_user(session, "bob", PASSWORD, Role.READER)
        create_token(session, "ward", Role.READER)
        create_token(session, "old", Role.READER)
        change_password(session, "bob", PASSWORD + "!")
        remove_user(session, "bob")
        revoke_token(session, "old")
    assert verify_record(record).problems == ()


CHANGES = [
    ("UPDATE predictions SET probability = 0.01", "The answer {prediction} was changed."),
    ("UPDATE predictions SET bundle = 'other'", "The answer {prediction} was changed."),
    ("UPDATE predictions SET activation_map = NULL", "The answer {prediction} was changed."),
    ("UPDATE predictions SET asked_by = 'nobody'", "The answer {prediction} was changed."),
    ("UPDATE predictions SET state = 'queued'", "The answer {prediction} was given, but is said"),
    ("UPDATE readings SET label = 'PNEUMONIA'", "The reading {reading} was changed."),
    ("UPDATE readings SET reader = 'other'", "The reading {reading} was changed."),
    ("DELETE FROM readings", "(reading) is of {reading}, which is missing."),
    ("DELETE FROM predictions", "(prediction) is of {prediction}, which is missing."),
    ("UPDATE studies SET decision = 'NORMAL'", "The study {study} shows something else"),
    ("UPDATE studies SET probability = NULL", "The study {study} shows something else"),
    ("UPDATE studies SET urgency = 2", "The study {study} shows something else"),
    ("UPDATE studies SET prediction_id = 'none'", "The study {study} shows something else"),
    ("UPDATE users SET role = 'admin' WHERE name = 'bob'", "The user {user} was changed."),
    ("DELETE FROM users WHERE name = 'bob'", "(user-added) is of {user}, which is missing."),
    ("UPDATE tokens SET role = 'admin'", "The token "),
    ("DELETE FROM log WHERE event = 'prediction'", "Entries 4 to 4 of the log are missing."),
    ("DELETE FROM log WHERE event = 'prediction'", "The answer {prediction} is not in the log."),
    ("DELETE FROM log WHERE seq = 5", "The log ends at entry 4, but had 5: its tail was cut off."),
    ("UPDATE log SET at = '2020' WHERE seq = 4", "Entry 4 of the log was changed."),
    ("UPDATE log SET digest = '' WHERE seq = 4", "The answer {prediction} was changed."),
    ("UPDATE log SET previous = hash WHERE seq = 4", "Entry 4 of the log does not follow"),
    ("UPDATE images SET size = 1", "The image {image} was changed."),
]


@pytest.mark.parametrize(("statement", "problem"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_change_behind_its_back_is_found(record, file, statement, problem):
    with record.begin() as session:
        add_user(session, "ada", PASSWORD, Role.ADMIN)
        user = add_user(session, "bob", PASSWORD, Role.READER).id
        create_token(session, "ward", Role.READER)
    filed = file(record, label="NORMAL")
    assert verify_record(record).problems == ()
    _tamper(record, statement)
    problems = verify_record(record).problems
    assert any(problem.format(user=user, **filed._asdict()) in found for found in problems)


DELETIONS = [
    ("studies", ["The answer {prediction} is of the study {study},",
                 "The reading {reading} is of the study {study},",
                 "The job of {study} is of the study {study},"]),
    ("images", ["The answer {prediction} is of the image {image},",
                "The study {study} is of the image {image},"]),
    ("patients", ["The study {study} is of the patient "]),
]  # fmt: skip


@pytest.mark.parametrize(("table", "problems"), DELETIONS, ids=[d[0] for d in DELETIONS])
def test_rows_that_were_deleted_from_under_others_are_found(sqlite_record, file, table, problems):
    """The `sqlite3` tool checks no foreign keys unless told to."""
    filed = file(sqlite_record, label="NORMAL", patient="anna")
    waiting = file(sqlite_record, b"waits", decision=None, patient="bert")
    with sqlite_record.begin() as session:
        for study in (filed.study, waiting.study):
            session.add(JobStudy(job_id=f"of {study}", study_id=study))
    with closing(sqlite3.connect(sqlite_record.folder / "record.sqlite")) as tool, tool:
        tool.execute(f"DELETE FROM {table}")
    found = verify_record(sqlite_record).problems
    expected = {
        sentence.format(**one._asdict()) for one in (filed, waiting) for sentence in problems
    }
    expected.discard(f"The reading None is of the study {waiting.study},")
    assert all(problem.endswith(", which has no row.") for problem in found)
    assert len(found) == len(expected)
    for sentence in expected:
        assert any(problem.startswith(sentence) for problem in found)


def test_a_row_that_the_log_says_was_removed_is_found(record, file):
    filed = file(record)
    with record.begin() as session:
        append_entry(session, "removed", filed.prediction)
    problems = verify_record(record).problems
    assert problems == (f"The answer {filed.prediction} was removed, but is there.",)


def _rewrite(record: Record, keep: int) -> None:
    """Rewrite the log as somebody would who knows how it is chained: without its later entries."""
    with record.database.begin() as session:
        session.execute(text("DELETE FROM log WHERE seq > :keep"), {"keep": keep})
        rows = session.execute(text("SELECT * FROM log ORDER BY seq")).mappings().all()
        previous = ORIGIN
        for row in rows:
            entry = {**row, "previous": previous, "at": "2020-01-01T00:00:00.000+00:00"}
            del entry["hash"]
            previous = hash_entry(entry)
            session.execute(
                text(
                    "UPDATE log SET at = :at, previous = :previous, hash = :hash WHERE seq = :seq"
                ),
                {**entry, "hash": previous},
            )


def test_a_chain_that_was_rewritten_is_not_the_one_that_the_head_has_seen(record, file):
    file(record, label="NORMAL")
    _rewrite(record, keep=2)
    assert verify_record(record).problems == (
        "Entry 2 of the log is not the one that head.json has seen.",
    )


def test_a_cut_tail_stays_visible_when_the_log_grows_past_it(record, file, caplog):
    for number in range(3):
        file(record, b"image %d" % number)
    _tamper(record, "DELETE FROM predictions WHERE id IN (SELECT subject FROM log WHERE seq > 1)")
    _tamper(record, "DELETE FROM log WHERE seq > 1")
    with record.begin() as session:
        for _ in range(5):
            append_entry(session, "sign-in", "somebody")
    assert "Entry 3 of the log is not the one" in caplog.text
    assert "Entry 3 of the log is not the one" in verify_record(record).problems[0]


def test_a_head_that_was_changed_or_taken_away_is_seen(record, file):
    file(record)
    path = record.head.path
    path.write_text(json.dumps({"seq": 1, "hash": "f" * 64}))
    assert "Entry 1 of the log is not the one" in verify_record(record).problems[0]
    path.write_text("nonsense")
    assert "is no head of a log: it was changed" in verify_record(record).problems[0]
    path.unlink()
    file(record, b"another")
    assert "head.json is missing" in verify_record(record).problems[0]


def test_images_that_changed_are_found_by_length_and_by_hash(record, file):
    filed = [file(record, b"image %d" % number) for number in range(3)]
    record.images.find(filed[0].image).write_bytes(b"other")
    record.images.find(filed[1].image).unlink()
    flipped = record.images.find(filed[2].image)
    flipped.write_bytes(flipped.read_bytes()[::-1])
    quick, whole = verify_record(record), verify_record(record, images=True)
    assert set(quick.problems) == {
        f"The image {filed[0].image} was changed.",
        f"The image {filed[1].image} is missing.",
    }
    assert set(whole.problems) - set(quick.problems) == {
        f"The image {filed[2].image} was changed.",
    }


def test_what_a_row_cannot_hold_is_told_and_the_rest_looked_at(sqlite_record, file):
    file(sqlite_record, label="NORMAL")
    _tamper(sqlite_record, "UPDATE predictions SET answered_at = 'yesterday', warnings = 'no list'")
    _tamper(sqlite_record, "UPDATE readings SET comment = 'changed'")
    problems = " ".join(verify_record(sqlite_record).problems)
    assert "The table predictions holds what was never written there" in problems
    assert "The reading" in problems


def test_a_thousand_problems_are_listed_and_the_others_counted(sqlite_record, monkeypatch, file):
    monkeypatch.setattr("pneumoscope.records.verification._MOST", 2)
    for number in range(3):
        file(sqlite_record, b"image %d" % number)
    _tamper(sqlite_record, "UPDATE predictions SET message = 'changed'")
    found = verify_record(sqlite_record)
    assert (len(found.problems), found.unlisted) == (2, 1)


def test_images_looked_at_are_counted_aloud(sqlite_record, file):
    file(sqlite_record, label="NORMAL")
    calls = []
    verify_record(sqlite_record, images=True, progress=lambda *call: calls.append(call))
    assert calls == [(1, 1)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE studies SET state = 'waiting'",
        "UPDATE studies SET state = 'queued', prediction_id = NULL, decision = NULL",
        "UPDATE studies SET prediction_id = NULL",
    ],
)
def test_an_answer_that_its_study_hides_is_found(record, file, statement):
    study = file(record).study
    assert verify_record(record).problems == ()
    with record.database.begin() as session:
        session.execute(text(statement))
    assert verify_record(record).problems == (
        f"The study {study} shows something else than its answer.",
    )

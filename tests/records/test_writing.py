"""Writing: changes are grouped, and each stands or falls alone; nothing is claimed twice."""

from __future__ import annotations

import multiprocessing
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from pneumoscope.errors import RecordError
from pneumoscope.records import (
    Patient,
    Prediction,
    Record,
    State,
    Verdict,
    Writer,
    add_reading,
    claim,
    release,
    verify_record,
)
from pneumoscope.records.locks import Presence, hold_lock


def _add(key):
    def change(session):
        session.add(Patient(id=str(uuid.uuid4()), key=key))
        session.flush()
        return key

    return change


@pytest.fixture
def writer(record):
    made = Writer(record)
    yield made
    made.close()


def _hold(writer):
    """Keep the writer busy, so that what follows waits together."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_):
        begun.set()
        assert go_on.wait(30)

    writer.submit(wait)
    assert begun.wait(30)
    return go_on


def test_changes_that_wait_are_committed_together(record, writer, monkeypatch):
    go_on, groups, original = _hold(writer), [], record.begin_quickly
    monkeypatch.setattr(record, "begin_quickly", lambda: groups.append(1) or original())
    futures = [writer.submit(_add(f"patient {number}")) for number in range(20)]
    go_on.set()
    assert [future.result(30) for future in futures] == [f"patient {n}" for n in range(20)]
    assert len(groups) == 1
    with record.read() as session:
        assert session.scalar(select(func.count()).select_from(Patient)) == 20


def test_a_change_that_fails_does_no_harm_to_its_group(record, writer, file):
    """A wrong value, a broken constraint, and a log entry that was already appended."""
    study = file(record).study

    def read_and_fail(session):
        add_reading(session, study, "reader", Verdict.AGREE)
        raise ZeroDivisionError

    go_on = _hold(writer)
    changes = [_add("anna"), _add("anna"), read_and_fail, _add("bert")]
    futures = [writer.submit(change) for change in changes]
    go_on.set()
    failures = [type(future.exception(30)).__name__ for future in futures]
    assert failures == ["NoneType", "IntegrityError", "ZeroDivisionError", "NoneType"]
    with record.read() as session:
        assert set(session.scalars(select(Patient.key))) == {"anna", "bert"}
    assert verify_record(record).problems == ()
    assert verify_record(record).readings == 0


def test_everybody_hears_of_a_commit_that_failed(record, writer, monkeypatch):
    go_on = _hold(writer)
    futures = [writer.submit(_add("anna")), writer.submit(_add("bert"))]

    def fail():
        raise RecordError("The database does not answer.")

    monkeypatch.setattr(record, "begin_quickly", fail)
    go_on.set()
    assert {str(future.exception(30)) for future in futures} == {"The database does not answer."}
    monkeypatch.undo()
    assert writer.submit(_add("anna")).result(30) == "anna"


def test_nobody_waits_for_the_head_that_follows(record, writer, file):
    study = file(record).study
    before = record.head.read()
    with hold_lock(record.head.path.with_suffix(".lock")):
        future = writer.submit(lambda s: add_reading(s, study, "reader", Verdict.AGREE).id)
        assert future.result(30)
        assert record.head.read() == before
    writer.close()
    assert record.head.read().seq == before.seq + 1
    assert verify_record(record).problems == ()


def test_a_writer_that_is_closed_has_made_what_waited(record):
    writer = Writer(record)
    futures = [writer.submit(_add(f"patient {number}")) for number in range(100)]
    writer.close()
    assert all(future.done() for future in futures)
    with record.read() as session:
        assert session.scalar(select(func.count()).select_from(Patient)) == 100


def test_readers_do_not_wait_for_writers_and_see_one_state(record, file):
    file(record)
    with record.read() as session:
        before = session.scalar(select(func.count()).select_from(Prediction))
        file(record, b"another")
        assert session.scalar(select(func.count()).select_from(Prediction)) == before
    with record.read() as session:
        assert session.scalar(select(func.count()).select_from(Prediction)) == before + 1


# -- the queue ------------------------------------------------------------------------------------


def test_claims_come_in_order_and_for_one_bundle(record, file):
    filed = [file(record, b"image %d" % number, decision=None) for number in range(3)]
    assert record.write(lambda s: claim(s, "w", 9, "another bundle")) == []
    first = record.write(lambda s: claim(s, "w", 2, "b" * 64))
    assert [one.prediction_id for one in first] == [one.prediction for one in filed[:2]]
    assert [(one.attempts, one.image_sha256) for one in first] == [
        (1, one.image) for one in filed[:2]
    ]
    assert [one.prediction_id for one in record.write(lambda s: claim(s, "w", 9, "b" * 64))] == [
        filed[2].prediction
    ]


def _claim_all(folder, database, name):
    """Claim one after the other until nothing is left."""
    taken = []
    with Record(folder, database) as record:
        while claims := record.write(lambda session: claim(session, name, 2, "b" * 64)):
            taken += [one.prediction_id for one in claims]
    return taken


def test_nothing_is_claimed_twice(record, database, file):
    """By threads that each have a connection of their own, as processes have."""
    filed = {file(record, b"image %d" % n, decision=None).prediction for n in range(24)}
    with ThreadPoolExecutor(4) as pool:
        claims = pool.map(
            lambda number: _claim_all(record.folder, database, f"worker {number}"), range(4)
        )
        taken = [one for part in claims for one in part]
    assert len(taken) == len(filed)
    assert set(taken) == filed


def _claim_and_hang(folder, database, claimed):
    record = Record(folder, database)
    presence = Presence(record.folder / "workers", "doomed")
    record.write(lambda session: claim(session, presence.name, 1, "b" * 64))
    claimed.set()
    threading.Event().wait()


def test_what_a_killed_process_had_claimed_is_put_back(record, database, file):
    filed = file(record, decision=None)
    spawn = multiprocessing.get_context("spawn")
    claimed = spawn.Event()
    process = spawn.Process(target=_claim_and_hang, args=(record.folder, database, claimed))
    process.start()
    assert claimed.wait(60)
    presence = Presence(record.folder / "workers", "survivor")
    assert record.write(lambda session: release(session, presence.is_alive)) == 0
    process.kill()
    process.join()
    assert record.write(lambda session: release(session, presence.is_alive)) == 1
    again = record.write(lambda session: claim(session, presence.name, 9, "b" * 64))
    assert [(one.prediction_id, one.attempts) for one in again] == [(filed.prediction, 2)]
    assert record.write(lambda session: release(session, presence.is_alive)) == 0
    with record.read() as session:
        assert session.scalar(select(Prediction.state)) == State.RUNNING
    presence.close()

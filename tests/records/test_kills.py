"""Killed at any moment: nothing acknowledged is lost, nothing half-written is shown."""

from __future__ import annotations

import os
import random
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select

from pneumoscope.records import (
    Prediction,
    Reading,
    Record,
    State,
    Study,
    claim,
    conclude,
    release,
    sweep,
    verify_record,
)
from pneumoscope.records.locks import Presence

WORKER = Path(__file__).with_name("killed_worker.py")
KILLS = 20  # on each database


@pytest.fixture(scope="module")
def launcher():
    """A process that starts workers."""
    command = [sys.executable, str(WORKER)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    with process:
        assert process.stdout.readline() == "imported\n"
        yield process
        process.stdin.close()


def _run_and_kill(launcher, folder, database, chance):
    """Start a worker, kill it at some moment, and return what it acknowledged."""
    print(folder, database or "-", chance.randrange(1 << 30), file=launcher.stdin, flush=True)
    word, pid = launcher.stdout.readline().split()
    assert word == "pid"
    # A third dies while the record is opened, the others after some acknowledgements.
    at_line, after = chance.choice([0, 1, 1]) * chance.randint(1, 25), chance.uniform(0, 0.05)

    def kill():
        os.kill(int(pid), signal.SIGKILL)

    timer = threading.Timer(after, kill)
    if not at_line:
        timer.start()
    acknowledged = []
    for line in launcher.stdout:
        if line == "dead\n":
            return acknowledged
        acknowledged.append(line.split())
        if len(acknowledged) == at_line:
            timer.start()
    raise AssertionError("the launcher ended")


def test_nothing_acknowledged_is_lost_by_kills(launcher, tmp_path, database):
    make_finding = runpy.run_path(str(WORKER))["make_finding"]
    chance, folder = random.Random(20261128), tmp_path / "record"
    acknowledged: list[list[str]] = []
    for _ in range(KILLS):
        acknowledged += _run_and_kill(launcher, folder, database, chance)
        with Record(folder, database) as record:
            assert verify_record(record, images=True).problems == ()
            _check(record, acknowledged, make_finding)
    assert sum(words[0] == "answered" for words in acknowledged) > KILLS
    with Record(folder, database) as record:
        _finish(record, make_finding)
        assert verify_record(record, images=True).problems == ()
        sweep(record)
        with record.read() as session:
            filed = set(session.scalars(select(Study.image_sha256)))
            states = set(session.scalars(select(Prediction.state)))
        assert set(record.images.walk()) == filed
        assert states == {State.DONE}


def _check(record, acknowledged, make_finding):
    """Look at everything that was acknowledged, and at what is shown."""
    with record.read() as session:
        predictions = {row.id: row for row in session.scalars(select(Prediction))}
        readings = set(session.scalars(select(Reading.id)))
    for word, *rest in acknowledged:
        if word == "read":
            assert rest[0] in readings
        elif word in {"queued", "answered"}:
            prediction = predictions[rest[0]]
            assert prediction.image_sha256 == rest[1]
            assert record.images.holds(rest[1])
            assert word == "queued" or prediction.state == State.DONE
    for row in predictions.values():
        if row.state == State.DONE:  # whole, or not at all
            finding = make_finding(row.image_sha256)
            assert (row.decision, row.probability) == (finding.decision, finding.probability)
        else:
            assert (row.decision, row.probability, row.answered_at) == (None, None, None)


def _finish(record, make_finding):
    """Take up what dead workers had claimed, and answer all that waits."""
    presence = Presence(record.folder / "workers", "last")
    record.write(lambda session: release(session, presence.is_alive))
    with record.read() as session:
        running = select(func.count()).where(Prediction.state == State.RUNNING)
        assert session.scalar(running) == 0
    while claims := record.write(lambda session: claim(session, "last", 50, "b" * 64)):
        with record.begin() as session:
            for one in claims:
                prediction = session.get_one(Prediction, one.prediction_id)
                conclude(session, prediction, make_finding(one.image_sha256), {})
    presence.close()

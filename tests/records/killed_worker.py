"""A service in small, to be killed: files, answers and reads, and says what is committed.

`python killed_worker.py` reads a line a worker, `FOLDER DATABASE SEED`, and starts it as a process
of its own; everything is imported once.
"""

from __future__ import annotations

import os
import random
import sys
import uuid
from pathlib import Path

from pneumoscope.records import (
    Answered,
    Record,
    Submission,
    Terms,
    Verdict,
    Writer,
    add_reading,
    ask,
    claim,
    conclude,
    file_answers,
    file_study,
    release,
)
from pneumoscope.records.locks import Presence
from pneumoscope.records.tables import Prediction
from pneumoscope.runtime import Decision, Finding, Status

TERMS = Terms("b" * 64, "fp32", "balanced")


def make_finding(sha256: str) -> Finding:
    """Return the answer to an image, which its hash decides."""
    decision = (Decision.NORMAL, Decision.PNEUMONIA)[int(sha256[0], 16) % 2]
    return Finding("x.png", Status.OK, sha256, decision, int(sha256[:4], 16) / 65536, 0.5)


def say(*words: str) -> None:
    """Acknowledge in one write: a kill tears no line."""
    os.write(1, (" ".join(words) + "\n").encode())


def work(folder: str, database: str, seed: int) -> None:
    """Work until killed."""
    chance = random.Random(seed)
    record = Record(Path(folder), None if database == "-" else database)
    presence = Presence(record.folder / "workers", uuid.uuid4().hex)
    writer = Writer(record)
    record.write(lambda session: release(session, presence.is_alive))
    say("ready")
    while True:
        with record.keep_images():
            images = [chance.randbytes(chance.randint(1, 3000)) for _ in range(3)]
            hashes = [record.images.put(data) for data in images]
            sent = [
                Submission(sha256, len(data), "x.png", "local", patient=sha256[:2])
                for sha256, data in zip(hashes, images, strict=True)
            ]
            # Two wait in the queue, one is answered before it is filed.
            queued = [
                writer.submit(lambda session, one=one: _enqueue(session, one)) for one in sent[:2]
            ]
            answered = Answered(sent[2], TERMS, make_finding(hashes[2]), {})
            filed = writer.join(file_answers, answered)
            for sha256, future in zip(hashes, queued, strict=False):
                say("queued", future.result(), sha256)
            say("answered", filed.result().prediction_id, hashes[2])
        for one in record.write(lambda s: claim(s, presence.name, 5, TERMS.bundle)):
            writer.submit(lambda session, one=one: _answer(session, one)).result()
            say("answered", one.prediction_id, one.image_sha256)
        study = filed.result().study_id
        reading = record.write(
            lambda s, study=study: add_reading(s, study, "r", Verdict.CORRECT, "NORMAL").id
        )
        say("read", reading)


def _enqueue(session, sent):
    return ask(session, file_study(session, sent), TERMS, "local")[0].id


def _answer(session, one):
    prediction = session.get_one(Prediction, one.prediction_id)
    conclude(session, prediction, make_finding(one.image_sha256), {})


if __name__ == "__main__":
    say("imported")
    for line in sys.stdin:
        place, address, number = line.split()
        child = os.fork()
        if child == 0:
            say("pid", str(os.getpid()))
            work(place, address, int(number))
        os.waitpid(child, 0)
        say("dead")

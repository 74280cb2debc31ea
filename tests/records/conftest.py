"""Records on SQLite and on a real PostgreSQL, and what is filed in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import date
from typing import NamedTuple

import numpy as np
import pytest

from pneumoscope.records import (
    Record,
    Submission,
    Terms,
    Verdict,
    add_reading,
    ask,
    conclude,
    file_study,
)
from pneumoscope.runtime import Decision, Finding, Status

BUNDLE = "b" * 64
TERMS = Terms(BUNDLE, "fp32", "balanced")


class Filed(NamedTuple):
    """Where something lies."""

    study: str
    prediction: str
    image: str
    reading: str | None


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty database; None for SQLite in the record's folder."""
    if request.param == "sqlite":
        return None
    address: str = request.getfixturevalue("postgresql")
    return address


@pytest.fixture
def record(tmp_path, database) -> Iterator[Record]:
    """An empty record on each database."""
    with Record(tmp_path / "record", database) as record:
        yield record


@pytest.fixture
def sqlite_record(tmp_path) -> Iterator[Record]:
    """An empty record on SQLite."""
    with Record(tmp_path / "record") as record:
        yield record


@pytest.fixture
def quick_passwords(monkeypatch) -> None:
    """Argon2 is slow on purpose: for tests of something else."""
    monkeypatch.setattr("pneumoscope.records.accounts.hash_password", "hash of {}".format)


@pytest.fixture(scope="session")
def answer() -> Callable[..., Finding]:
    """Make a finding for an image."""
    return _make_finding


@pytest.fixture(scope="session")
def file() -> Callable[..., Filed]:
    """File an image with its answer, and where asked for with a reading."""
    return _file


def _make_finding(sha256: str, decision: Decision = Decision.PNEUMONIA) -> Finding:
    return Finding(
        path="chest.png",
        status=Status.OK,
        sha256=sha256,
        decision=decision,
        probability={"NORMAL": 0.125, "REFER": 0.5}.get(decision.value, 0.875),
        logit=2.5,
        operating_point="balanced",
        threshold=0.5,
        message="Looks like it.",
        precision="fp32",
        bundle=BUNDLE,
        activation_map=np.arange(49, dtype=np.float32).reshape(7, 7),
    )


def _file(
    record: Record,
    data: bytes = b"an image",
    *,
    decision: Decision | None = Decision.PNEUMONIA,
    label: str | None = None,
    name: str = "chest.png",
    patient: str | None = None,
    taken_on: date | None = None,
    again: bool = False,
    reader: str = "reader",
) -> Filed:
    """File an image; `decision` None leaves it in the queue, `label` adds a correction."""
    with record.keep_images():
        sha256 = record.images.put(data)
        assert sha256 == hashlib.sha256(data).hexdigest()
        sent = Submission(
            sha256, len(data), name, "local", patient=patient, taken_on=taken_on, again=again
        )
        with record.begin() as session:
            study = file_study(session, sent)
            prediction, is_new = ask(session, study, TERMS, "local")
            if is_new and decision is not None:
                conclude(session, prediction, _make_finding(sha256, decision), {"network": 1.5})
            reading = (
                add_reading(session, study.id, reader, Verdict.CORRECT, label) if label else None
            )
            return Filed(study.id, prediction.id, sha256, reading.id if reading else None)

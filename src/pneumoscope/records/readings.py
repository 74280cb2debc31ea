"""Readings: what people say about studies, beside the model's answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from pneumoscope.errors import RecordError
from pneumoscope.records.filing import make_id
from pneumoscope.records.log import append_entry, commit_to
from pneumoscope.records.tables import Reading, Study
from pneumoscope.runtime import Status

LABELS = ("NORMAL", "PNEUMONIA")
_LONGEST_COMMENT = 4096


class Verdict(StrEnum):
    """What a reader says of the model's answer."""

    AGREE = "agree"
    CORRECT = "correct"
    """It is wrong, or gives none: the reader's label stands."""
    COMMENT = "comment"
    """A remark, and no label."""


@dataclass(frozen=True)
class Labelled:
    """A study with the label that people gave it last."""

    study_id: str
    image_sha256: str
    patient_id: str | None
    label: str
    reader: str
    read_at: datetime


def add_reading(
    session: Session,
    study_id: str,
    reader: str,
    verdict: Verdict,
    label: str | None = None,
    comment: str = "",
) -> Reading:
    """Write down what a reader says; nothing that was said before is changed.

    Raises
    ------
    RecordError
        There is no such study; the verdict and the label do not go together.
    """
    study = session.get(Study, study_id)
    if study is None:
        raise RecordError("There is no such study.")
    reading = Reading(
        id=make_id(),
        study_id=study_id,
        prediction_id=study.prediction_id,
        reader=reader,
        verdict=verdict.value,
        label=_choose_label(study, verdict, label),
        comment=comment[:_LONGEST_COMMENT],
        read_at=datetime.now(UTC),
        salt=os.urandom(16),
    )
    if verdict is Verdict.COMMENT and not comment.strip():
        raise RecordError("A comment needs some words.")
    session.add(reading)
    session.flush()
    append_entry(session, "reading", reading.id, digest_reading(reading))
    return reading


def list_readings(session: Session, study_id: str) -> list[Reading]:
    """Return what was said about a study, in order."""
    statement = select(Reading).where(Reading.study_id == study_id).order_by(Reading.read_at)
    return list(session.scalars(statement))


def list_labelled(session: Session) -> list[Labelled]:
    """Return every study that people gave a label, with the latest one."""
    statement = (
        select(Reading, Study)
        .join(Study, Study.id == Reading.study_id)
        .where(Reading.label.is_not(None))
        .order_by(Reading.read_at, Reading.id)
    )
    latest = {
        study.id: Labelled(
            study.id,
            study.image_sha256,
            study.patient_id,
            str(reading.label),
            reading.reader,
            reading.read_at,
        )
        for reading, study in session.execute(statement).all()
    }
    return list(latest.values())


def digest_reading(reading: Reading) -> str:
    """Return the log's hash of a reading."""
    names = ("id", "study_id", "prediction_id", "reader", "verdict", "label", "comment")
    facts = {name: getattr(reading, name) for name in names}
    return commit_to(facts | {"read_at": reading.read_at.isoformat()}, reading.salt)


def _choose_label(study: Study, verdict: Verdict, label: str | None) -> str | None:
    if label is not None and label not in LABELS:
        raise RecordError(f"A label is {' or '.join(LABELS)}, found {label!r}.")
    if verdict is Verdict.COMMENT:
        if label is not None:
            raise RecordError("A comment carries no label: correct the answer, or agree with it.")
        return None
    if study.status == Status.ERROR:
        raise RecordError("Nobody can see this image, since it cannot be read: comment on it only.")
    if verdict is Verdict.CORRECT:
        if label is None:
            raise RecordError(f"A correction needs a label: {' or '.join(LABELS)}.")
        return label
    if study.decision not in LABELS:
        raise RecordError(
            f"There is no answer to agree with: the model said {study.decision or 'nothing'}; give "
            "a label of your own."
        )
    if label not in {None, study.decision}:
        raise RecordError(f"The model said {study.decision}: to say {label} is to correct it.")
    return study.decision

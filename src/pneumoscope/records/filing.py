"""Filing: what was sent becomes a study, what was answered becomes a prediction of it."""

from __future__ import annotations

import os
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from pneumoscope._files import hash_bytes
from pneumoscope.errors import RecordError
from pneumoscope.records.log import append_entry, commit_to
from pneumoscope.records.tables import Image, Patient, Prediction, State, Study, Urgency
from pneumoscope.runtime import Decision, Finding, Status, WarningCode

_URGENCY = {Decision.PNEUMONIA: Urgency.PNEUMONIA, Decision.REFER: Urgency.REFER}
#: Characters of a patient's key.
LONGEST_KEY = 256
NAME_LENGTH, _MESSAGE_LENGTH = 512, 2048


class PatientConflictError(RecordError):
    """An image that is filed under one patient was sent for another."""


@dataclass(frozen=True)
class Submission:
    """An image that somebody sends, already in the content store."""

    image_sha256: str
    size: int
    """Bytes."""
    name: str
    """The file's name as sent."""
    asked_by: str
    source: str = "api"
    """`api`, `page` or `dicom`."""
    patient: str | None = None
    """The key by which the sender knows the patient."""
    taken_on: date | None = None
    job_id: str | None = None
    again: bool = False
    """Make a study of its own, also where the image has one."""


@dataclass(frozen=True)
class Terms:
    """What answers: one image has one answer under the same terms."""

    bundle: str
    """sha256."""
    precision: str
    operating_point: str


def make_id() -> str:
    """Return a new opaque id."""
    return str(uuid.uuid4())


def file_study(session: Session, submission: Submission) -> Study:
    """Return the study of an image: the one that it has, or a new one.

    Raises
    ------
    PatientConflictError
        The image is filed under another patient.
    """
    if not submission.again:
        study = session.scalar(select(Study).where(Study.single == submission.image_sha256))
        if study is not None:
            complete_study(session, study, submission.patient, submission.taken_on)
            return study
    if session.get(Image, submission.image_sha256) is None:
        session.add(Image(sha256=submission.image_sha256, size=submission.size, stored_at=_now()))
        session.flush()
    study = Study(
        id=make_id(),
        single=None if submission.again else submission.image_sha256,
        image_sha256=submission.image_sha256,
        patient_id=find_patient(session, submission.patient),
        name=submission.name[:NAME_LENGTH],
        taken_on=submission.taken_on,
        received_at=_now(),
        source=submission.source,
        state=State.QUEUED,
        urgency=Urgency.OTHER,
    )
    session.add(study)
    session.flush()
    return study


def match_terms(terms: Terms) -> ColumnElement[bool]:
    """Return the condition that a prediction was made under these terms."""
    return and_(
        Prediction.bundle == terms.bundle,
        Prediction.precision == terms.precision,
        Prediction.operating_point == terms.operating_point,
    )


def ask(
    session: Session, study: Study, terms: Terms, asked_by: str, state: State = State.QUEUED
) -> tuple[Prediction, bool]:
    """Return the study's prediction under these terms, and whether it was made now."""
    found = session.scalar(
        select(Prediction).where(Prediction.study_id == study.id, match_terms(terms))
    )
    if found is not None:
        return found, False
    prediction = Prediction(
        id=make_id(),
        study_id=study.id,
        image_sha256=study.image_sha256,
        bundle=terms.bundle,
        precision=terms.precision,
        operating_point=terms.operating_point,
        asked_by=asked_by,
        asked_at=_now(),
        state=state,
        attempts=0,
        warnings=[],
        message="",
        timings={},
        salt=os.urandom(16),
    )
    session.add(prediction)
    if study.prediction_id is None:
        study.state = state
    session.flush()
    return prediction, True


def conclude(
    session: Session,
    prediction: Prediction,
    finding: Finding,
    timings: Mapping[str, float],
) -> None:
    """Write an answer down, show it on its study, and log it."""
    for name, value in describe_answer(finding, timings, _now()).items():
        setattr(prediction, name, value)
    study = session.get_one(Study, prediction.study_id)
    study.prediction_id = prediction.id
    study.state = State.DONE
    study.status = prediction.status
    study.decision = prediction.decision
    study.probability = prediction.probability
    study.urgency = find_urgency(finding)
    append_entry(session, "prediction", prediction.id, digest_prediction(prediction))


def describe_answer(
    finding: Finding, timings: Mapping[str, float], answered_at: datetime
) -> dict[str, Any]:
    """Return the columns of a prediction that its answer fills."""
    stored = finding.activation_map
    return {
        "state": State.DONE,
        "claimed_by": None,
        "answered_at": answered_at,
        "status": str(finding.status),
        "decision": str(finding.decision) if finding.decision else None,
        "probability": finding.probability,
        "logit": finding.logit,
        "threshold": finding.threshold,
        "rule_out": finding.rule_out,
        "rule_in": finding.rule_in,
        "warnings": [str(code) for code in finding.warnings],
        "message": finding.message[:_MESSAGE_LENGTH],
        "activation_map": stored.astype("<f4").tobytes() if stored is not None else None,
        "inputs": dict(finding.inputs) if finding.inputs else None,
        "timings": {name: round(value, 3) for name, value in timings.items()},
    }


def find_urgency(finding: Finding) -> Urgency:
    """Return where an answer places its study in the worklist."""
    return _URGENCY.get(finding.decision, Urgency.OTHER) if finding.decision else Urgency.OTHER


def digest_prediction(prediction: Prediction) -> str:
    """Return the log's hash of an answer: everything that was said, and under what terms."""
    names = (
        "id", "study_id", "image_sha256", "bundle", "precision", "operating_point", "asked_by",
        "status", "decision", "probability", "logit", "threshold", "rule_out", "rule_in",
        "warnings", "message",
    )  # fmt: skip
    facts: dict[str, Any] = {name: getattr(prediction, name) for name in names}
    facts["answered_at"] = prediction.answered_at.isoformat() if prediction.answered_at else None
    facts["activation_map"] = (prediction.activation_map or b"").hex()
    return commit_to(facts, prediction.salt)


def read_finding(prediction: Prediction, study: Study) -> Finding:
    """Return an answer as the finding that it was, its path being the file's name as sent."""
    stored = prediction.activation_map
    return Finding(
        path=study.name,
        status=Status(prediction.status or Status.ERROR),
        sha256=prediction.image_sha256,
        decision=Decision(prediction.decision) if prediction.decision else None,
        probability=prediction.probability,
        logit=prediction.logit,
        operating_point=prediction.operating_point,
        threshold=prediction.threshold,
        rule_out=prediction.rule_out,
        rule_in=prediction.rule_in,
        warnings=tuple(WarningCode(code) for code in prediction.warnings),
        message=prediction.message,
        precision=prediction.precision,
        bundle=prediction.bundle,
        activation_map=_read_map(stored) if stored else None,
    )


def _read_map(stored: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    side = round((len(stored) // 4) ** 0.5)
    return np.frombuffer(stored, "<f4").reshape(side, side).astype(np.float32)


def complete_study(
    session: Session, study: Study, patient: str | None, taken_on: date | None
) -> None:
    """Add what was left out about a study; nothing is replaced.

    Raises
    ------
    PatientConflictError
        It is filed under another patient.
    """
    patient = clean_key(patient)
    if patient is not None:
        known = session.scalar(select(Patient.id).where(Patient.key == patient))
        if study.patient_id is not None and study.patient_id != known:
            if study.status == Status.ERROR:
                return  # the README of a disc comes with every patient, and shows none of them
            raise PatientConflictError(
                "This image is filed under another patient: check the patient, or ask for a "
                "study of its own."
            )
        study.patient_id = find_patient(session, patient)
    study.taken_on = study.taken_on or taken_on


def clean_key(key: str | None) -> str | None:
    """Return a patient's key as it is kept and looked for; None where nothing of it is left.

    One person must not become two because a letter can be written in two ways, or because of
    what nobody sees: characters that cannot be shown are dropped, the rest is composed (Unicode's
    form NFC), without spaces around it. Nor must two become one: a key above `LONGEST_KEY`
    characters, which no system is allowed to write, ends in its hash.
    """
    shown = "".join(c for c in key or "" if c.isprintable())
    whole = unicodedata.normalize("NFC", shown.strip())
    if len(whole) > LONGEST_KEY:
        digest = hash_bytes(whole.encode())[:32]
        whole = f"{whole[: LONGEST_KEY - len(digest) - 1]}…{digest}"
    return whole or None


def find_patient(session: Session, key: str | None) -> str | None:
    """Return the id of a patient, who is added if not known; None where no key is given."""
    key = clean_key(key)
    if key is None:
        return None
    found = session.scalar(select(Patient.id).where(Patient.key == key))
    if found is None:
        found = make_id()
        session.add(Patient(id=found, key=key))
        session.flush()
    return found


def _now() -> datetime:
    return datetime.now(UTC)

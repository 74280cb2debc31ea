"""Answers that came at once are filed together: a few statements for all of them.

The object mapper takes about 5 ms of processor time for one study, its answer and its log entry;
here it is a fraction of that, which is what a service under load has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pneumoscope.records.filing import (
    NAME_LENGTH,
    PatientConflictError,
    Submission,
    Terms,
    ask,
    clean_key,
    conclude,
    describe_answer,
    digest_prediction,
    file_study,
    find_urgency,
    make_id,
)
from pneumoscope.records.log import Event, append_entries
from pneumoscope.records.tables import Image, Patient, Prediction, State, Study
from pneumoscope.runtime import Finding


@dataclass(frozen=True)
class Answered:
    """An image that was answered before it was filed."""

    submission: Submission
    terms: Terms
    finding: Finding
    timings: Mapping[str, float]


class Filed(NamedTuple):
    """Where an answer lies."""

    prediction_id: str
    study_id: str
    is_new: bool
    """False where the image had an answer under the same terms, which stands."""


def file_answers(session: Session, entries: list[Answered]) -> list[Filed | Exception]:
    """File answers with their studies; what came of each, in order."""
    hashes = [entry.submission.image_sha256 for entry in entries]
    known = set(session.scalars(select(Study.single).where(Study.single.in_(hashes))))
    fresh = [
        not (entry.submission.again or sha256 in known or sha256 in hashes[:place])
        for place, (entry, sha256) in enumerate(zip(entries, hashes, strict=True))
    ]
    filed = iter(_file_new(session, [e for e, new in zip(entries, fresh, strict=True) if new]))
    return [
        next(filed) if new else _file_one(session, entry)
        for entry, new in zip(entries, fresh, strict=True)
    ]


def _file_one(session: Session, entry: Answered) -> Filed | Exception:
    """File an answer whose image may have a study already."""
    try:
        study = file_study(session, entry.submission)
    except PatientConflictError as error:
        return error
    prediction, is_new = ask(session, study, entry.terms, entry.submission.asked_by, State.RUNNING)
    if is_new or prediction.state != State.DONE:  # it may have waited in the queue
        conclude(session, prediction, entry.finding, entry.timings)
    return Filed(prediction.id, study.id, is_new)


def _file_new(session: Session, entries: Sequence[Answered]) -> list[Filed]:
    """File answers to images that have no study."""
    if not entries:
        return []
    now = datetime.now(UTC)
    keys = [clean_key(entry.submission.patient) for entry in entries]
    patients = _find_patients(session, {key for key in keys if key})
    images, studies, predictions = [], [], []
    for entry, key in zip(entries, keys, strict=True):
        sent, study_id = entry.submission, make_id()
        images.append({"sha256": sent.image_sha256, "size": sent.size, "stored_at": now})
        prediction = Prediction(
            id=make_id(),
            study_id=study_id,
            image_sha256=sent.image_sha256,
            bundle=entry.terms.bundle,
            precision=entry.terms.precision,
            operating_point=entry.terms.operating_point,
            asked_by=sent.asked_by,
            asked_at=now,
            attempts=0,
            salt=os.urandom(16),
            **describe_answer(entry.finding, entry.timings, now),
        )
        predictions.append(prediction)
        studies.append(
            {
                "id": study_id,
                "single": sent.image_sha256,
                "image_sha256": sent.image_sha256,
                "patient_id": patients.get(key or ""),
                "name": sent.name[:NAME_LENGTH],
                "taken_on": sent.taken_on,
                "received_at": now,
                "source": sent.source,
                "prediction_id": prediction.id,
                "state": State.DONE,
                "status": prediction.status,
                "decision": prediction.decision,
                "probability": prediction.probability,
                "urgency": find_urgency(entry.finding),
            }
        )
    _insert_images(session, images)
    session.execute(insert(Study.__table__), studies)  # type: ignore[arg-type]
    session.execute(insert(Prediction.__table__), [_to_row(row) for row in predictions])  # type: ignore[arg-type]
    append_entries(
        session, [Event("prediction", row.id, digest_prediction(row)) for row in predictions]
    )
    return [Filed(row.id, row.study_id, True) for row in predictions]


def _to_row(prediction: Prediction) -> dict[str, Any]:
    return {column.key: getattr(prediction, column.key) for column in Prediction.__table__.columns}


def _find_patients(session: Session, keys: set[str]) -> dict[str, str]:
    """Return the ids of patients by their keys; who is not known yet is added."""
    if not keys:
        return {}
    rows = session.execute(select(Patient.key, Patient.id).where(Patient.key.in_(keys)))
    found = {row.key: row.id for row in rows}
    new = [{"id": make_id(), "key": key} for key in keys - found.keys()]
    if new:
        session.execute(insert(Patient.__table__), new)  # type: ignore[arg-type]
    return found | {str(row["key"]): str(row["id"]) for row in new}


def _insert_images(session: Session, rows: list[dict[str, Any]]) -> None:
    """Add images; one that a study of its own has already is there."""
    kind = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(kind.insert(Image.__table__).on_conflict_do_nothing(), rows)

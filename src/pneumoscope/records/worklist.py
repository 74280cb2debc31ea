"""The worklist: studies in the order in which people should look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from unicodedata import normalize

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from pneumoscope.records.tables import JobStudy, Patient, Prediction, Reading, State, Study


@dataclass(frozen=True)
class StudyQuery:
    """Which studies are wanted."""

    decision: str | None = None
    """NORMAL, PNEUMONIA, REFER or REJECTED; `ERROR` for what could not be read, `WAITING`."""
    text: str = ""
    """Part of the file's name or of the patient's key."""
    patient_id: str | None = None
    job_id: str | None = None
    unread: bool = False
    """Only those that no person has read."""
    received_from: datetime | None = None


@dataclass(frozen=True)
class StudyRow:
    """A study as the worklist shows it."""

    id: str
    name: str
    patient_id: str | None
    patient: str | None
    """The key."""
    taken_on: date | None
    received_at: datetime
    source: str
    image_sha256: str
    prediction_id: str | None
    state: str
    status: str | None
    decision: str | None
    probability: float | None
    rule_out: float | None
    rule_in: float | None
    threshold: float | None
    message: str | None
    readings: int


def list_studies(
    session: Session, query: StudyQuery, *, offset: int = 0, limit: int = 50
) -> list[StudyRow]:
    """Return a page of the worklist: PNEUMONIA first, then REFER, then the rest, latest first."""
    statement = _select_rows().order_by(Study.urgency, Study.received_at.desc(), Study.id)
    page = _narrow(statement, query).offset(offset).limit(limit)
    return [_to_row(*row) for row in session.execute(page).all()]


def find_study(session: Session, study_id: str) -> StudyRow | None:
    """Return one study; None where there is none of this id."""
    row = session.execute(_select_rows().where(Study.id == study_id)).first()
    return _to_row(*row) if row else None


def count_studies(session: Session, query: StudyQuery) -> int:
    """Return how many studies a query finds."""
    statement = select(func.count(Study.id)).outerjoin(Patient, Patient.id == Study.patient_id)
    return session.scalar(_narrow(statement, query)) or 0


def list_priors(session: Session, study: StudyRow) -> Sequence[StudyRow]:
    """Return the other studies of a study's patient, the latest first."""
    if study.patient_id is None:
        return []
    found = list_studies(session, StudyQuery(patient_id=study.patient_id), limit=200)
    others = [row for row in found if row.id != study.id]
    return sorted(others, key=lambda row: row.taken_on or row.received_at.date(), reverse=True)


def find_neighbours(
    session: Session, study: StudyRow, query: StudyQuery
) -> tuple[str | None, str | None]:
    """Return the ids of the studies before and after one, among those that a query finds.

    The study itself need not be among them: it may have left an unread list by being read.
    """
    place = session.get_one(Study, study.id)
    earlier = or_(
        Study.urgency < place.urgency,
        and_(Study.urgency == place.urgency, Study.received_at > place.received_at),
        and_(
            Study.urgency == place.urgency,
            Study.received_at == place.received_at,
            Study.id < place.id,
        ),
    )
    narrowed = _narrow(
        select(Study.id).outerjoin(Patient, Patient.id == Study.patient_id), query
    ).where(Study.id != place.id)
    before = narrowed.where(earlier).order_by(
        Study.urgency.desc(), Study.received_at, Study.id.desc()
    )
    after = narrowed.where(~earlier).order_by(Study.urgency, Study.received_at.desc(), Study.id)
    return session.scalar(before.limit(1)), session.scalar(after.limit(1))


def _select_rows() -> Select[Any]:
    """Return a statement that yields what `_to_row` takes."""
    readings = (
        select(func.count()).where(Reading.study_id == Study.id).correlate(Study).scalar_subquery()
    )
    return (
        select(Study, Patient.key, Prediction, readings)
        .outerjoin(Patient, Patient.id == Study.patient_id)
        .outerjoin(Prediction, Prediction.id == Study.prediction_id)
    )


def _narrow(statement: Select[Any], query: StudyQuery) -> Select[Any]:
    if query.decision == "WAITING":
        statement = statement.where(Study.state != State.DONE)
    elif query.decision == "ERROR":
        statement = statement.where(Study.status == "error")
    elif query.decision:
        statement = statement.where(Study.decision == query.decision)
    if query.text:
        statement = statement.where(
            or_(
                Study.name.icontains(query.text, autoescape=True),
                Patient.key.icontains(normalize("NFC", query.text), autoescape=True),
            )
        )
    if query.patient_id:
        statement = statement.where(Study.patient_id == query.patient_id)
    if query.job_id:
        sent = select(JobStudy.study_id).where(JobStudy.job_id == query.job_id)
        statement = statement.where(Study.id.in_(sent))
    if query.received_from:
        statement = statement.where(Study.received_at >= query.received_from)
    if query.unread:
        read = select(Reading.id).where(Reading.study_id == Study.id).correlate(Study)
        statement = statement.where(~read.exists())
    return statement


def _to_row(
    study: Study, patient: str | None, prediction: Prediction | None, readings: int
) -> StudyRow:
    return StudyRow(
        id=study.id,
        name=study.name,
        patient_id=study.patient_id,
        patient=patient,
        taken_on=study.taken_on,
        received_at=study.received_at,
        source=study.source,
        image_sha256=study.image_sha256,
        prediction_id=study.prediction_id,
        state=study.state,
        status=study.status,
        decision=study.decision,
        probability=study.probability,
        rule_out=prediction.rule_out if prediction else None,
        rule_in=prediction.rule_in if prediction else None,
        threshold=prediction.threshold if prediction else None,
        message=prediction.message if prediction else None,
        readings=readings,
    )

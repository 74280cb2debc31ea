"""Verification: whether the record is what its log says, and the log what its head says.

Everything is streamed: a record of millions of answers needs no more memory than a small one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from pneumoscope.errors import RecordError
from pneumoscope.records.accounts import digest_user
from pneumoscope.records.credentials import digest_token
from pneumoscope.records.filing import digest_prediction
from pneumoscope.records.log import HeadFile, append_entry, find_breaks, find_last
from pneumoscope.records.readings import digest_reading
from pneumoscope.records.record import Record
from pneumoscope.records.tables import (
    Image,
    JobStudy,
    LogEntry,
    Patient,
    Prediction,
    Reading,
    State,
    Study,
    Table,
    Token,
    Urgency,
    User,
)
from pneumoscope.runtime import Decision

#: What the log says of a row that is taken out.
REMOVALS = ("removed", "user-removed", "token-revoked")
#: Rows whose content the log commits to, what people call them, and how they are hashed.
_LOGGED: tuple[tuple[type[Table], str, Callable[[Any], str]], ...] = (
    (Prediction, "answer", digest_prediction),
    (Reading, "reading", digest_reading),
    (User, "user", digest_user),
    (Token, "token", digest_token),
)
#: What rows name and cannot be without; a database checks it, unless somebody turns that off.
_NAMED: tuple[tuple[str, InstrumentedAttribute[Any], str, InstrumentedAttribute[str]], ...] = (
    ("answer", Prediction.study_id, "study", Study.id),
    ("reading", Reading.study_id, "study", Study.id),
    ("job", JobStudy.study_id, "study", Study.id),
    ("answer", Prediction.image_sha256, "image", Image.sha256),
    ("study", Study.image_sha256, "image", Image.sha256),
    ("study", Study.patient_id, "patient", Patient.id),
)
_ROWS_AT_ONCE = 500
_MOST = 1000


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong with it."""

    entries: int
    """Of the log."""
    answers: int
    """Given; what waits is not counted."""
    readings: int
    images: int
    problems: tuple[str, ...]
    """A sentence each, the first thousand; empty where all is as it was written."""
    unlisted: int = 0
    """Problems beyond these."""


def verify_record(
    record: Record,
    *,
    images: bool = False,
    log_head: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Compare the record with its log, and the log with its head.

    Parameters
    ----------
    images
        Read every image and hash it; otherwise only its length is compared.
    log_head
        A head that is kept elsewhere, to be compared too.
    progress
        Called with the images looked at and how many there are.
    """
    problems: list[str] = []
    unlisted = 0
    with record.read() as session:
        elsewhere = HeadFile(log_head).find_breaks(session) if log_head else ()
        for problem in chain(elsewhere, _find_problems(record, session, images, progress)):
            if len(problems) < _MOST:
                problems.append(problem)
            else:
                unlisted += 1
        answers = session.scalar(
            select(func.count()).select_from(Prediction).where(Prediction.state == State.DONE)
        )
    counts = count_rows(record)
    entries, readings, files = (counts[table.__tablename__] for table in (LogEntry, Reading, Image))
    return Verification(entries, answers or 0, readings, files, tuple(problems), unlisted)


def accept_log(record: Record) -> None:
    """Keep the log's end as its head again, whatever the head was; an entry says so for ever.

    For when it is known why they differ, as after a database was set back to a copy of its own.
    """
    with record.database.begin() as session:  # not the record's own: it would find the difference
        append_entry(session, "head-accepted")
        last = find_last(session)
    for head in record.heads:
        head.replace(last)


def count_rows(record: Record) -> dict[str, int]:
    """Return how many rows every table has, by name."""
    with record.read() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Table.metadata.sorted_tables
        }


def _find_problems(
    record: Record,
    session: Session,
    images: bool,
    progress: Callable[[int, int], None] | None,
) -> Iterator[str]:
    # The head comes first: it is read before the session sees anything, and so is never ahead.
    for head in record.heads:
        yield from head.find_breaks(session)
    yield from find_breaks(session)
    for table, noun, digest in _LOGGED:
        yield from _compare_rows(session, table, noun, digest)
    yield from _find_missing_rows(session)
    for reference in _NAMED:
        yield from _find_dangling(session, *reference)
    yield from _compare_studies(session)
    yield from _compare_images(record, session, images, progress)


def _compare_rows(
    session: Session, table: type[Table], noun: str, digest: Callable[[Any], str]
) -> Iterator[str]:
    """Yield rows that are not what the log last said of them."""
    key: ColumnElement[str] = table.__table__.c.id
    told = or_(LogEntry.digest.is_not(None), LogEntry.event.in_(REMOVALS))
    statement: Any = (
        select(table, LogEntry.event, LogEntry.digest)
        .outerjoin(LogEntry, (LogEntry.subject == key) & told)
        .order_by(key, LogEntry.seq)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    try:
        for row_id, group in groupby(session.execute(statement), key=lambda found: found[0].id):
            *_, (row, event, known) = group
            problem = _judge_row(row, event, known, digest)
            if problem:
                yield f"The {noun} {row_id} {problem}."
    except (ValueError, TypeError) as error:  # a moment that is none, a list that is text
        yield f"The table {table.__tablename__} holds what was never written there: {error}."


def _judge_row(
    row: Any, event: str | None, known: str | None, digest: Callable[[Any], str]
) -> str | None:
    answered = not isinstance(row, Prediction) or row.state == State.DONE
    if event in REMOVALS:
        return "was removed, but is there"
    if known is None:
        return "is not in the log" if answered else None
    if not answered:
        return "was given, but is said to wait"
    return None if digest(row) == known else "was changed"


def _find_missing_rows(session: Session) -> Iterator[str]:
    """Yield rows that the log knows, whose removal it does not."""
    later = aliased(LogEntry)
    removal = select(later.seq).where(
        later.subject == LogEntry.subject, later.seq > LogEntry.seq, later.event.in_(REMOVALS)
    )
    statement = select(LogEntry.seq, LogEntry.event, LogEntry.subject).where(
        LogEntry.digest.is_not(None), ~removal.exists()
    )
    for table, _, _ in _LOGGED:
        key: ColumnElement[str] = table.__table__.c.id
        statement = statement.where(~select(key).where(key == LogEntry.subject).exists())
    rows = statement.order_by(LogEntry.seq).execution_options(yield_per=_ROWS_AT_ONCE)
    for seq, event, subject in session.execute(rows):
        yield f"Entry {seq} of the log ({event}) is of {subject}, which is missing."


def _find_dangling(
    session: Session,
    noun: str,
    names: InstrumentedAttribute[Any],
    named: str,
    key: InstrumentedAttribute[str],
) -> Iterator[str]:
    """Yield rows that name another which is not there."""
    own: ColumnElement[str] = names.class_.__mapper__.primary_key[0]
    statement = (
        select(own, names)
        .where(names.is_not(None), ~select(key).where(key == names).exists())
        .order_by(own)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    for row_id, missing in session.execute(statement):
        yield f"The {noun} {row_id} is of the {named} {missing}, which has no row."


def _compare_studies(session: Session) -> Iterator[str]:
    """Yield studies that show something else than their answer."""
    urgency = case(
        (Prediction.decision == Decision.PNEUMONIA, Urgency.PNEUMONIA),
        (Prediction.decision == Decision.REFER, Urgency.REFER),
        else_=Urgency.OTHER,
    )
    differs = or_(
        Study.status.is_distinct_from(Prediction.status),
        Study.decision.is_distinct_from(Prediction.decision),
        Study.probability.is_distinct_from(Prediction.probability),
        Study.urgency != urgency,
        Study.image_sha256.is_distinct_from(Prediction.image_sha256),
        Study.id.is_distinct_from(Prediction.study_id),
    )
    given = aliased(Prediction)
    answered = (
        select(given.id).where(given.study_id == Study.id, given.state == State.DONE).exists()
    )
    shown = and_(Study.state == State.DONE, Study.prediction_id.is_not(None))
    statement = (
        select(Study.id)
        .outerjoin(Prediction, Prediction.id == Study.prediction_id)
        .where(
            or_(
                and_(or_(Study.state == State.DONE, Study.prediction_id.is_not(None)), differs),
                and_(answered, ~shown),
            )
        )
        .order_by(Study.id)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    for study_id in session.scalars(statement):
        yield f"The study {study_id} shows something else than its answer."


def _compare_images(
    record: Record,
    session: Session,
    hashing: bool,
    progress: Callable[[int, int], None] | None,
) -> Iterator[str]:
    total = session.scalar(select(func.count()).select_from(Image)) or 0
    statement = select(Image.sha256, Image.size).order_by(Image.sha256)
    rows = session.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE))
    for done, (sha256, size) in enumerate(rows, start=1):
        problem = _judge_image(record, sha256, size, hashing)
        # What was forgotten since this session began is missing as it should be.
        if problem and _is_known(record, sha256):
            yield f"The image {sha256} {problem}."
        if progress:
            progress(done, total)


def _judge_image(record: Record, sha256: str, size: int, hashing: bool) -> str | None:
    try:
        found = record.images.find(sha256).stat().st_size
    except (FileNotFoundError, RecordError):  # a row may name what was never stored
        return "is missing"
    if found != size or (hashing and not record.images.holds(sha256)):
        return "was changed"
    return None


def _is_known(record: Record, sha256: str) -> bool:
    with record.read() as session:
        return session.get(Image, sha256) is not None

"""Forgetting: a patient, a study, or all that is older than so many days, for good.

Rows go first, in one transaction with the log's entries that say so; then the files that no other
study needs. What a kill leaves in between are files that no row names, which `sweep` removes.
The log keeps opaque ids and salted hashes, whose salts went with the rows: it still verifies, and
tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from pneumoscope.errors import RecordError
from pneumoscope.records.database import Database
from pneumoscope.records.filing import clean_key
from pneumoscope.records.log import Event, append_entries
from pneumoscope.records.record import Record
from pneumoscope.records.tables import Image, Patient, Prediction, Reading, Study

T = TypeVar("T")
#: Files made of an image, such as small pictures of it, named by its sha256 and a suffix.
PREVIEWS = "previews"
_SHA256 = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
#: Studies in one transaction of a retention, and keys in one query.
_AT_ONCE = 200
#: Milliseconds to wait for readers.
_PATIENCE = 1000


@dataclass(frozen=True)
class Forgotten:
    """What was deleted."""

    studies: int = 0
    answers: int = 0
    readings: int = 0
    images: int = 0
    """Files that no other study needed."""
    traceless: bool = True
    """False where SQLite's write-ahead log still holds old pages: somebody reads. `sweep` later."""

    def __add__(self, other: Forgotten) -> Forgotten:
        return Forgotten(
            self.studies + other.studies,
            self.answers + other.answers,
            self.readings + other.readings,
            self.images + other.images,
            self.traceless and other.traceless,
        )


def list_studies_of(record: Record, key: str) -> list[str]:
    """Return the ids of a patient's studies.

    Raises
    ------
    RecordError
        There is no such patient.
    """
    with record.read() as session:
        patient = _find_patient(session, key)
        return list(session.scalars(select(Study.id).where(Study.patient_id == patient)))


def count_older(record: Record, days: int) -> int:
    """Return how many studies were received more than so many days ago."""
    with record.read() as session:
        return session.scalar(select(func.count(Study.id)).where(_is_older(days))) or 0


def forget_patient(record: Record, key: str) -> Forgotten:
    """Delete a patient with all studies, answers, readings and images.

    Parameters
    ----------
    key
        By which whoever sent the images knows the patient.

    Raises
    ------
    RecordError
        There is no such patient.
    """
    done, unused = Forgotten(), set[str]()
    with record.begin() as session:
        patient = _find_patient(session, key)
        studies = session.scalars(select(Study.id).where(Study.patient_id == patient)).all()
        for batch in _cut(studies):
            done += _delete_studies(session, batch, unused)
        _delete_patients(session, {patient})  # one who never had a study
    return done + _delete_files(record, unused)


def forget_study(record: Record, study_id: str) -> Forgotten:
    """Delete one study with its answers and readings, and its image where no other needs it.

    A patient whose last study this was goes too.

    Raises
    ------
    RecordError
        There is no such study.
    """
    unused = set[str]()
    with record.begin() as session:
        if session.get(Study, study_id) is None:
            raise RecordError("There is no such study: it may have been deleted before.")
        done = _delete_studies(session, [study_id], unused)
    return done + _delete_files(record, unused)


def retain(
    record: Record, days: int, progress: Callable[[int, int], None] | None = None
) -> Forgotten:
    """Delete the studies that were received more than so many days ago.

    Their readings go with them: a label without its image teaches nothing, and a comment may name
    a patient. Export readings first where they are to be kept.

    Raises
    ------
    RecordError
        `days` is below 1.
    """
    total, done = count_older(record, days), Forgotten()
    oldest = select(Study.id).where(_is_older(days)).order_by(Study.received_at).limit(_AT_ONCE)
    while True:
        unused = set[str]()
        with record.begin() as session:
            deleted = _delete_studies(session, session.scalars(oldest).all(), unused)
        if not deleted.studies:
            return done
        done += deleted + _delete_files(record, unused)
        if progress:
            progress(done.studies, total)


def find_orphans(record: Record) -> list[Path]:
    """Return files that no study needs; some may be ones that are being written just now."""
    return [
        file
        for root in (record.images.folder, record.folder / PREVIEWS)
        for batch in _cut(root.rglob("*"))
        for file in _choose_orphans(record, batch)
    ]


def sweep(record: Record, candidates: Iterable[Path] | None = None) -> int:
    """Remove the files that a kill left behind, and return how many they were.

    Nobody writes an image meanwhile: one whose row is not committed yet is no orphan.

    Parameters
    ----------
    candidates
        What `find_orphans` found, where it was asked before.
    """
    found = find_orphans(record) if candidates is None else candidates
    removed = 0
    for batch in _cut(found):
        with record.delete_images():
            for file in _choose_orphans(record, batch):
                file.unlink(missing_ok=True)
                removed += 1
    _overwrite_traces(record.database)
    return removed


def _delete_studies(session: Session, studies: Sequence[str], unused: set[str]) -> Forgotten:
    """Delete some studies and what hangs on them; add images that nobody needs now to `unused`."""
    rows = session.execute(
        select(Study.image_sha256, Study.patient_id).where(Study.id.in_(studies))
    ).all()
    answers, readings = (
        session.scalars(delete(table).where(table.study_id.in_(studies)).returning(table.id)).all()
        for table in (Prediction, Reading)
    )
    session.execute(delete(Study).where(Study.id.in_(studies)))
    append_entries(session, [Event("removed", row) for row in (*answers, *readings, *studies)])
    images = {row.image_sha256 for row in rows}
    images -= set(session.scalars(_find_in(Study.image_sha256, images)))
    session.execute(delete(Image).where(Image.sha256.in_(images)))
    _delete_patients(session, {row.patient_id for row in rows} - {None})
    unused |= images
    return Forgotten(len(studies), len(answers), len(readings))


def _delete_patients(session: Session, patients: set[str]) -> None:
    """Delete those of some patients who have no study any more."""
    busy = select(Study.id).where(Study.patient_id == Patient.id)
    gone = session.scalars(
        delete(Patient).where(Patient.id.in_(patients), ~busy.exists()).returning(Patient.id)
    ).all()
    append_entries(session, [Event("removed", patient) for patient in gone])


def _delete_files(record: Record, images: Collection[str]) -> Forgotten:
    """Delete the files of images that have no row, and what was made of them."""
    removed = 0
    for batch in _cut(images):
        with record.delete_images():
            gone = set(batch) - _find_known(record, batch)  # some may have been sent again
            for sha256 in gone:
                record.images.remove(sha256)
            for file in (record.folder / PREVIEWS).rglob("*"):
                if _read_sha256(file) in gone:
                    file.unlink(missing_ok=True)
        removed += len(gone)
    return Forgotten(images=removed, traceless=_overwrite_traces(record.database))


def _choose_orphans(record: Record, files: Sequence[Path]) -> list[Path]:
    """Return those of some files whose image has no row, and images that were half written."""
    named = {file: sha256 for file in files if (sha256 := _read_sha256(file)) and file.is_file()}
    known = _find_known(record, named.values())
    return [
        file
        for file, sha256 in named.items()
        if sha256 not in known
        or (file.suffix == ".part" and file.is_relative_to(record.images.folder))
    ]


def _find_known(record: Record, images: Collection[str]) -> set[str]:
    with record.read() as session:
        return set(session.scalars(_find_in(Image.sha256, images)))


def _find_in(column: InstrumentedAttribute[str], values: Collection[str]) -> Any:
    return select(column).where(column.in_(values)).distinct()


def _find_patient(session: Session, key: str) -> str:
    patient = session.scalar(select(Patient.id).where(Patient.key == clean_key(key)))
    if patient is None:
        raise RecordError("There is no patient with this key: check how it is spelt.")
    return patient


def _is_older(days: int) -> ColumnElement[bool]:
    if days < 1:
        raise RecordError(f"Studies are kept for 1 day at least, found {days}.")
    return Study.received_at < datetime.now(UTC) - timedelta(days=days)


def _read_sha256(file: Path) -> str | None:
    found = _SHA256.search(file.name)
    return found[0] if found else None


def _overwrite_traces(database: Database) -> bool:
    """Empty SQLite's write-ahead log, where old pages linger; False where somebody reads them.

    The database file itself holds no trace: `secure_delete` overwrites what is deleted.
    """
    if not database.is_sqlite:
        return True  # PostgreSQL: vacuum and the write-ahead log are its administrator's
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        # Writers wait meanwhile: not as long as a backup may read.
        cursor.execute(f"PRAGMA busy_timeout={_PATIENCE}")
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        cursor.close()
    finally:
        connection.invalidate()  # the next one has its usual patience
    return not busy


def _cut(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch

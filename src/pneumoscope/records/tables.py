"""The tables of the record, as SQLAlchemy maps them; `migrations/` builds them step by step.

What identifies a patient lies in `patients` and `studies` alone. The log has none of it: its
entries name rows by their opaque ids, and commit to what a row said by a salted hash.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class State(StrEnum):
    """How far a prediction has come."""

    QUEUED = "queued"
    RUNNING = "running"
    """A worker that lives has claimed it."""
    DONE = "done"


class Urgency(IntEnum):
    """Where a study stands in the worklist: the lowest first."""

    PNEUMONIA = 0
    REFER = 1
    OTHER = 2
    """NORMAL, rejected, unreadable, or not answered yet."""


class Role(StrEnum):
    """What somebody may do."""

    READER = "reader"
    """Look, submit and read."""
    ADMIN = "admin"
    """All of it, and users, tokens, deletion."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its time zone, kept in UTC: SQLite would forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC; one without a zone is refused, it could be anywhere."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment needs its time zone: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the moment with UTC said again."""
        moment: datetime | None = value
        if moment is None or moment.tzinfo is not None:
            return moment
        return moment.replace(tzinfo=UTC)


_ID = String(36)
_SHA256 = String(64)


class Table(DeclarativeBase):
    """Base of all tables; constraints have names, so that a migration can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Folder(Table):
    """The folder that holds the images of this database: one row, once it is known."""

    __tablename__ = "folder"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)


class Patient(Table):
    """A person, by the key that whoever sends images uses."""

    __tablename__ = "patients"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    key: Mapped[str] = mapped_column(String(256), unique=True)


class Image(Table):
    """A file in the content store."""

    __tablename__ = "images"

    sha256: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes."""
    stored_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Study(Table):
    """One image of one patient, as it was sent; what the worklist shows of it."""

    __tablename__ = "studies"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    single: Mapped[str | None] = mapped_column(_SHA256, unique=True)
    """The image's hash, where this is the one study of it; None where another was asked for."""
    image_sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256"), index=True)
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patients.id"), index=True)
    name: Mapped[str] = mapped_column(String(512))
    """The file's name as sent; a label, never a path."""
    taken_on: Mapped[date | None]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    source: Mapped[str] = mapped_column(String(16))
    """`api`, `page` or `dicom`."""
    prediction_id: Mapped[str | None] = mapped_column(_ID)
    """The latest answer, whose decision and probability stand here too."""
    state: Mapped[str] = mapped_column(String(16), index=True)
    status: Mapped[str | None] = mapped_column(String(16))
    decision: Mapped[str | None] = mapped_column(String(16))
    probability: Mapped[float | None]
    urgency: Mapped[int] = mapped_column(Integer, default=Urgency.OTHER)


#: In the order of the worklist, the latest first: a page of it is read, and nothing sorted.
Index("ix_studies_worklist", Study.urgency, Study.received_at.desc(), Study.id)


class JobStudy(Table):
    """A study among those that were sent together, whether it was new or known."""

    __tablename__ = "job_studies"

    job_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    study_id: Mapped[str] = mapped_column(
        ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class Prediction(Table):
    """One answer of one bundle to one study, and everything that led to it."""

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("study_id", "bundle", "precision", "operating_point"),
        Index("ix_predictions_queue", "state", "asked_at"),
    )

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    image_sha256: Mapped[str] = mapped_column(_SHA256)
    bundle: Mapped[str] = mapped_column(_SHA256)
    precision: Mapped[str] = mapped_column(String(8))
    operating_point: Mapped[str] = mapped_column(String(32))
    asked_by: Mapped[str] = mapped_column(String(128))
    """Name of the user or token; `local` without authentication."""
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """How often a worker began; what kills workers is not tried for ever."""
    claimed_by: Mapped[str | None] = mapped_column(String(64))
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    status: Mapped[str | None] = mapped_column(String(16))
    """The gate's result among them: `rejected`."""
    decision: Mapped[str | None] = mapped_column(String(16))
    probability: Mapped[float | None]
    """Calibrated, 0..1."""
    logit: Mapped[float | None]
    """The raw score."""
    threshold: Mapped[float | None]
    rule_out: Mapped[float | None]
    rule_in: Mapped[float | None]
    warnings: Mapped[list[str]] = mapped_column(JSON, default=list)
    message: Mapped[str] = mapped_column(String(2048), default="")
    activation_map: Mapped[bytes | None] = mapped_column(LargeBinary)
    """float32 [7, 7], little-endian, row by row."""
    inputs: Mapped[dict[str, float] | None] = mapped_column(JSON)
    """Plain properties of the image as the network saw it, for drift."""
    timings: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    """Milliseconds by step."""
    salt: Mapped[bytes] = mapped_column(LargeBinary(16))
    """Makes the log's hash of this row say nothing once the row is gone."""


class Reading(Table):
    """What a person says about a study; never changed, never in place of the model's answer."""

    __tablename__ = "readings"
    __table_args__ = (CheckConstraint("verdict IN ('agree', 'correct', 'comment')", "verdict"),)

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    prediction_id: Mapped[str | None] = mapped_column(_ID)
    """The answer that the reader had before them."""
    reader: Mapped[str] = mapped_column(String(128))
    verdict: Mapped[str] = mapped_column(String(16))
    label: Mapped[str | None] = mapped_column(String(64))
    """NORMAL or PNEUMONIA; None where the reader gives none."""
    comment: Mapped[str] = mapped_column(String(4096), default="")
    read_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary(16))


class LogEntry(Table):
    """One link of the chain: what happened, when, to which row, and the hash of the link before."""

    __tablename__ = "log"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(32))
    """ISO 8601 in UTC, as it was hashed."""
    event: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str | None] = mapped_column(String(64), index=True)
    """The id of what it is about."""
    digest: Mapped[str | None] = mapped_column(_SHA256)
    """Salted hash of what the row said at the time."""
    previous: Mapped[str] = mapped_column(_SHA256)
    hash: Mapped[str] = mapped_column(_SHA256)


class User(Table):
    """Somebody who signs in."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str] = mapped_column(String(256))
    """Argon2's hash, with its parameters and salt."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Token(Table):
    """What a program shows instead of signing in."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    hash: Mapped[str] = mapped_column(_SHA256, unique=True)
    """sha256: the token itself is 256 random bits, which no dictionary holds."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Session(Table):
    """A browser that is signed in."""

    __tablename__ = "sessions"

    hash: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    """sha256 of what the cookie holds."""
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    """What a page sends along with every change, which another site cannot know."""
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)

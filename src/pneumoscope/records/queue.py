"""The work queue: predictions that wait, claimed by workers that live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pneumoscope.records.tables import Prediction, State, Study

#: A prediction that ended so many workers is not begun again.
MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class Claim:
    """One prediction to be made."""

    prediction_id: str
    study_id: str
    image_sha256: str
    name: str
    attempts: int
    """This one counted."""


def claim(session: Session, worker: str, most: int, bundle: str) -> list[Claim]:
    """Take predictions from the head of the queue for a worker.

    What was begun before, by a worker that ended, is taken alone: whatever it was that ended the
    worker, the others are not held to it.

    Parameters
    ----------
    worker
        Name of its `Presence`.
    bundle
        Only what waits for this bundle, by its sha256: another one cannot answer for it.
    """
    rows = session.execute(
        select(Prediction, Study.name)
        .join(Study, Study.id == Prediction.study_id)
        .where(Prediction.state == State.QUEUED, Prediction.bundle == bundle)
        .order_by(Prediction.asked_at)
        .limit(most)
    ).all()
    begun = [row for row in rows if row[0].attempts > 0]
    claims = []
    for prediction, name in begun[:1] or rows:
        prediction.state = State.RUNNING
        prediction.claimed_by = worker
        prediction.attempts += 1
        claims.append(
            Claim(
                prediction.id,
                prediction.study_id,
                prediction.image_sha256,
                name,
                prediction.attempts,
            )
        )
    return claims


def release(session: Session, is_alive: Callable[[str], bool]) -> int:
    """Put back what workers that no longer live had claimed, and return how much that was."""
    running = session.scalars(select(Prediction).where(Prediction.state == State.RUNNING)).all()
    orphans = [row for row in running if not (row.claimed_by and is_alive(row.claimed_by))]
    for prediction in orphans:
        prediction.state = State.QUEUED
        prediction.claimed_by = None
    return len(orphans)


def count_waiting(session: Session) -> int:
    """Return how many predictions wait or are being made."""
    return (
        session.scalar(
            select(func.count()).select_from(Prediction).where(Prediction.state != State.DONE)
        )
        or 0
    )

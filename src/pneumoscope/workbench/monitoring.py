"""What a model answered lately: how much, what, how fast, and whether readers agreed.

Only of one bundle: its rates stand beside those of its own calibration part, and of no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pneumoscope.evaluation import Estimate, wilson_interval
from pneumoscope.records import LABELS, Prediction, Reading, State
from pneumoscope.runtime import Decision, Status
from pneumoscope.workbench.calibration_part import CalibrationPart

DAYS = 30
#: The latest answers that percentiles of the time are taken from.
_TIMED = 2000


@dataclass(frozen=True)
class Volume:
    """How many answers of each kind were given in a span of time."""

    pneumonia: int = 0
    refer: int = 0
    normal: int = 0
    rejected: int = 0
    errors: int = 0

    @property
    def answered(self) -> int:
        """Return how many images got an answer."""
        return self.pneumonia + self.refer + self.normal

    @property
    def total(self) -> int:
        """Return how many images there were."""
        return self.answered + self.rejected + self.errors

    @property
    def rates(self) -> dict[str, Estimate]:
        """Return the share rejected of what was read, referred and flagged of what was answered."""
        pairs = {
            "rejected": (self.rejected, self.answered + self.rejected),
            "referred": (self.refer, self.answered),
            "flagged": (self.pneumonia, self.answered),
        }
        return {
            name: Estimate(part / whole if whole else None, wilson_interval(part, whole))
            for name, (part, whole) in pairs.items()
        }

    def __add__(self, other: Volume) -> Volume:
        return Volume(
            self.pneumonia + other.pneumonia,
            self.refer + other.refer,
            self.normal + other.normal,
            self.rejected + other.rejected,
            self.errors + other.errors,
        )


@dataclass(frozen=True)
class Agreement:
    """How often readers who gave a label gave the model's."""

    day: date
    agreed: int
    read: int


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the bytes to the answer, of the latest answers; None where there are none.

    `n` is how many they were.
    """

    n: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def list_days(now: datetime, days: int = DAYS) -> list[date]:
    """Return the last days in UTC, today as the last."""
    today = now.astimezone(UTC).date()
    return [today - timedelta(days=back) for back in reversed(range(days))]


def count_by_day(session: Session, bundle: str, days: Sequence[date]) -> dict[date, Volume]:
    """Return what a bundle, known by its sha256, answered on each of these days."""
    found = {}
    for day in days:
        start = datetime.combine(day, time(), UTC)
        found[day] = count_answers(session, bundle, start, start + timedelta(days=1))
    return found


def count_answers(session: Session, bundle: str, start: datetime, end: datetime) -> Volume:
    """Return what a bundle answered from `start` until before `end`."""
    rows = session.execute(
        select(Prediction.status, Prediction.decision, func.count())
        .where(Prediction.answered_at >= start, Prediction.answered_at < end)
        .where(Prediction.state == State.DONE, Prediction.bundle == bundle)
        .group_by(Prediction.status, Prediction.decision)
    ).all()
    counts: dict[str | None, int] = defaultdict(int)
    for status, decision, count in rows:
        counts[decision if status == Status.OK else status] += count
    return Volume(
        pneumonia=counts[Decision.PNEUMONIA],
        refer=counts[Decision.REFER],
        normal=counts[Decision.NORMAL],
        rejected=counts[Status.REJECTED],
        errors=counts[Status.ERROR],
    )


def count_others(session: Session, bundle: str, since: datetime) -> int:
    """Return how many answers other bundles gave since then."""
    return (
        session.scalar(
            select(func.count())
            .select_from(Prediction)
            .where(Prediction.answered_at >= since, Prediction.state == State.DONE)
            .where(Prediction.bundle != bundle)
        )
        or 0
    )


def count_agreements(session: Session, bundle: str, since: datetime) -> list[Agreement]:
    """Return day by day how often a reader's label was the model's decision.

    Only where the model had decided: where it referred, there is nothing to agree with.
    """
    rows = session.execute(
        select(Reading.read_at, Reading.label, Prediction.decision)
        .join(Prediction, Prediction.id == Reading.prediction_id)
        .where(Reading.read_at >= since, Reading.label.is_not(None))
        .where(Prediction.decision.in_(LABELS), Prediction.bundle == bundle)
    ).all()
    days: dict[date, list[bool]] = defaultdict(list)
    for read_at, label, decision in rows:
        days[read_at.date()].append(label == decision)
    return [Agreement(day, sum(same), len(same)) for day, same in sorted(days.items())]


def measure_latency(session: Session, bundle: str) -> Latency:
    """Return percentiles of the time that the latest answers took."""
    rows = session.scalars(
        select(Prediction.timings)
        .where(Prediction.answered_at.is_not(None), Prediction.state == State.DONE)
        .where(Prediction.bundle == bundle)
        .order_by(Prediction.answered_at.desc())
        .limit(_TIMED)
    )
    totals = [timings["total"] for timings in rows if timings and "total" in timings]
    if not totals:
        return Latency(0)
    p50, p95, p99 = (float(value) for value in np.percentile(totals, [50, 95, 99]))
    return Latency(len(totals), p50, p95, p99)


def expect_rates(
    part: CalibrationPart, rule_out: float | None, rule_in: float | None, threshold: float
) -> dict[str, float]:
    """Return the shares referred and flagged on the calibration part, at these thresholds."""
    low, high = (
        (threshold, threshold) if rule_out is None or rule_in is None else (rule_out, rule_in)
    )
    scores = part.probabilities
    return {
        "referred": float(((scores >= low) & (scores < high)).mean()),
        "flagged": float((scores >= high).mean()),
    }

"""Whether what comes in and what is answered is still like the calibration part; alarms of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from pneumoscope.bundle import Bundle
from pneumoscope.evaluation import Drift, Stability, measure_stability
from pneumoscope.records import Prediction, Record
from pneumoscope.runtime import Status
from pneumoscope.workbench.calibration_part import read_calibration_part

#: Compared are at most so many of the latest answers, from at most so many days.
MOST, DAYS = 2000, 30
SCORE = "score"
#: Name of a measure → what people call it.
TITLES = {
    SCORE: "probability of pneumonia",
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "black_share": "share of black pixels",
    "feature_distance": "distance from the training images",
}
_SECONDS = 60.0


@dataclass(frozen=True)
class Watched:
    """A number of the latest answers beside that of the calibration part."""

    name: str
    stability: Stability

    @property
    def title(self) -> str:
        """Return what people call it."""
        return TITLES[self.name]

    @property
    def is_alarming(self) -> bool:
        """Return whether it has drifted beyond its limit."""
        return self.stability.drift is Drift.ALARM


def measure_drift(session: Session, bundle: Bundle, now: datetime) -> list[Watched]:
    """Compare the latest answers of a bundle with its calibration part, the score first.

    What was rejected is left out: the rejection rate tells of it.
    """
    rows = session.execute(
        select(Prediction.probability, Prediction.inputs)
        .where(Prediction.bundle == bundle.sha256, Prediction.status == Status.OK)
        .where(Prediction.answered_at >= now - timedelta(days=DAYS))
        .order_by(Prediction.answered_at.desc())
        .limit(MOST)
    ).all()
    part = read_calibration_part(bundle)
    scores = [probability for probability, _ in rows if probability is not None]
    watched = [Watched(SCORE, measure_stability(part.probabilities, scores))]
    for name, reference in part.inputs.items():
        current = [inputs[name] for _, inputs in rows if inputs and name in inputs]
        watched.append(Watched(name, measure_stability(reference, current)))
    return watched


class DriftWatch:
    """Looks for drift whenever it is asked, but asks the record at most once a minute.

    Parameters
    ----------
    clock
        Gives seconds that never run backwards.
    """

    def __init__(
        self, record: Record, bundle: Bundle, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._record = record
        self._bundle = bundle
        self._clock = clock
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._seen: list[Watched] = []

    def look(self) -> list[Watched]:
        """Return what is watched, as it stood within the last minute."""
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked >= _SECONDS:
                with self._record.read() as session:
                    self._seen = measure_drift(session, self._bundle, datetime.now(UTC))
                self._looked = now
            return self._seen

    def list_alarms(self) -> list[str]:
        """Return the titles of what has drifted beyond its limit."""
        return [watched.title for watched in self.look() if watched.is_alarming]

"""The service: a model, a record and what joins them. Knows nothing of HTTP."""

from __future__ import annotations

import time

from pneumoscope._closing import Closing
from pneumoscope.records import Intake, count_waiting, open_record
from pneumoscope.runtime import Finding, load
from pneumoscope.workbench.drift import DriftWatch
from pneumoscope.workbench.events import Events
from pneumoscope.workbench.meters import Meters
from pneumoscope.workbench.settings import Settings


class Service(Closing):
    """Everything that one process of the workbench holds open.

    Raises
    ------
    PneumoscopeError
        The bundle or the record cannot be opened, or the precision is not to be had.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.time()
        self.record = open_record(settings.record, settings.database, head=settings.log_head)
        self.predictor = load(
            settings.bundle,
            engine=settings.engine,
            precision=settings.precision,
            operating_point=settings.operating_point,
        )
        self.events = Events()
        self.meters = Meters()
        self.intake = Intake(
            self.record,
            self.predictor,
            decoders=settings.decoders,
            on_their_way=settings.limits.on_their_way,
            waiting=settings.limits.waiting,
            on_change=self.events.publish,
            on_answer=self._count_answer,
        )
        self.meters.on_their_way.set_function(lambda: self.intake.batcher.on_their_way)
        self.meters.waiting.set_function(self._count_waiting)
        self.drift = DriftWatch(self.record, self.predictor.bundle)
        self.meters.follow_drift(self.drift.look)
        self.terms = self.intake.terms

    def close(self) -> None:
        """Finish what was begun, and stop; what waits in the queue goes on waiting."""
        self.events.close()
        self.intake.close()
        self.record.close()

    @property
    def is_ready(self) -> bool:
        """Whether images are answered."""
        return self.intake.is_alive

    def _count_answer(self, finding: Finding) -> None:
        self.meters.answers.labels(str(finding.decision or "ERROR")).inc()

    def _count_waiting(self) -> int:
        with self.record.read() as session:
            return count_waiting(session)

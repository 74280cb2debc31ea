"""The queue's worker: takes up what waits, also what another process left when it was killed."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from pneumoscope.errors import OverloadedError, RecordError
from pneumoscope.records.filing import conclude
from pneumoscope.records.locks import Presence
from pneumoscope.records.queue import MAX_ATTEMPTS, Claim, claim, release
from pneumoscope.records.record import Record
from pneumoscope.records.tables import Prediction, State
from pneumoscope.records.writer import Writer
from pneumoscope.runtime import Answer, Batcher, Finding, Predictor

_log = logging.getLogger(__name__)
#: Queued images that are read and answered side by side; callers who wait go before them.
_CLAIMED = 16
#: Seconds between looks at a queue that another process may have filled.
_PAUSE = 2.0
#: Seconds between looks for what dead workers left.
_SEARCH = 10.0


class QueueWorker:
    """A thread that answers what waits for one bundle, until it is closed."""

    def __init__(
        self,
        record: Record,
        writer: Writer,
        batcher: Batcher,
        predictor: Predictor,
        bundle: str,
        on_change: Callable[[Iterable[str]], None],
        on_answer: Callable[[Finding], None],
    ) -> None:
        self._record, self._writer, self._batcher = record, writer, batcher
        self._predictor, self._bundle = predictor, bundle
        self._on_change, self._on_answer = on_change, on_answer
        self._presence = Presence(record.folder / "workers", str(uuid.uuid4()))
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="queue-worker", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether what waits is worked on."""
        return self._thread.is_alive() and not self._stopping

    def wake(self) -> None:
        """Say that something waits."""
        self._wake.set()

    def close(self) -> None:
        """Finish what was claimed, and stop."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._presence.close()

    def _work(self) -> None:
        """Answer what waits, until the service stops."""
        looked = -_SEARCH
        while not self._stopping:
            try:
                if time.monotonic() - looked > _SEARCH:
                    looked = time.monotonic()
                    self._record.write(lambda session: release(session, self._presence.is_alive))
                claims = self._writer.submit(
                    lambda session: claim(session, self._presence.name, _CLAIMED, self._bundle)
                ).result()
                if claims:
                    self._answer_claims(claims)
                    continue
            except DBAPIError as error:
                _log.error("The queue cannot be worked on, trying again: %s", error.orig)
            except Exception:  # noqa: BLE001 - whatever it was, the queue is not given up
                _log.exception("The queue could not be worked on; trying again")
            self._wake.wait(_PAUSE)
            self._wake.clear()

    def _answer_claims(self, claims: list[Claim]) -> None:
        answers = [(entry, self._begin(entry)) for entry in claims]
        written = []
        for entry, answer in answers:
            try:
                written.append((entry, self._conclude(entry, answer.result())))
            except Exception:  # noqa: BLE001 - the others of the batch are answered
                self._put_back(entry)
        for entry, outcome in written:
            try:
                outcome.result()
            except Exception:  # noqa: BLE001 - the others of the batch were written
                self._put_back(entry)
        self._on_change([entry.study_id for entry in claims])

    def _begin(self, entry: Claim) -> Future[Answer]:
        """Have an image answered; what is wrong with it is an answer too."""
        if entry.attempts > MAX_ATTEMPTS:
            return self._fail(
                entry, f"{entry.name} was given up: it ended its worker {MAX_ATTEMPTS} times."
            )
        try:
            data = self._record.images.get(entry.image_sha256)
        except RecordError as error:
            return self._fail(entry, str(error))
        return self._submit_patiently(data, entry.name)

    def _submit_patiently(self, data: bytes, name: str) -> Future[Answer]:
        while True:
            try:
                return self._batcher.submit(data, name)
            except OverloadedError:  # those who wait for an answer go first
                time.sleep(0.05)

    def _conclude(self, entry: Claim, answer: Answer) -> Future[None]:
        self._on_answer(answer.finding)

        def change(session: Session) -> None:
            prediction = session.get(Prediction, entry.prediction_id)
            if prediction is not None and prediction.state != State.DONE:  # else it was deleted
                finding = replace(answer.finding, sha256=entry.image_sha256)
                conclude(session, prediction, finding, answer.timings)

        return self._writer.submit(change)

    def _fail(self, entry: Claim, message: str) -> Future[Answer]:
        failed: Future[Answer] = Future()
        failed.set_result(Answer(self._predictor.report_error(entry.name, message), {}))
        return failed

    def _put_back(self, entry: Claim) -> None:
        """Let a prediction wait again that could not be made or written."""
        _log.exception("An answer could not be written down; it is tried again")

        def change(session: Session) -> None:
            prediction = session.get(Prediction, entry.prediction_id)
            if prediction is not None and prediction.state == State.RUNNING:
                prediction.state = State.QUEUED
                prediction.claimed_by = None

        self._record.write(change)

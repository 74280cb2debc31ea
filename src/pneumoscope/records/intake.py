"""The intake: images come in, are answered, and are kept with their answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from pneumoscope._files import hash_bytes
from pneumoscope.errors import ImageError, OverloadedError, RecordError
from pneumoscope.images import NO_HEADER, Header, is_dicom, read_header
from pneumoscope.records.answering import Answered, Filed, file_answers
from pneumoscope.records.filing import Submission, Terms, ask, clean_key, file_study, match_terms
from pneumoscope.records.queue import count_waiting
from pneumoscope.records.queue_worker import QueueWorker
from pneumoscope.records.record import Record
from pneumoscope.records.tables import JobStudy, Prediction, State, Study
from pneumoscope.records.writer import Writer
from pneumoscope.runtime import Answer, Batcher, Decoder, Finding, Predictor, Status

#: Threads that write images to the disk and wait for it.
_FILING_THREADS = 8


@dataclass(frozen=True)
class Sent:
    """An image that somebody sends, and what they say about it."""

    data: bytes
    name: str
    asked_by: str
    source: str = "api"
    patient: str | None = None
    taken_on: date | None = None
    job_id: str | None = None
    again: bool = False

    @cached_property
    def sha256(self) -> str:
        """Of the data; computed once, since an image may be large."""
        return hash_bytes(self.data)


@dataclass(frozen=True)
class Reply:
    """What became of an image for a caller who waited."""

    finding: Finding
    filed: Filed | None
    """None where the image could not be read: nothing is kept of it."""


@dataclass(frozen=True)
class Queued:
    """Where an image waits, or was answered long ago."""

    study_id: str
    prediction_id: str
    name: str
    is_new: bool


class Intake:
    """Answers images and keeps the record of it; its methods may be called from any thread.

    What it acknowledged survives whatever ends the process: an image is on the disk and its row
    committed before anybody hears of it.

    Parameters
    ----------
    decoders
        Processes that read images.
    on_their_way
        Images that may be in the works for callers who wait.
    waiting
        Images that may wait in the queue.
    on_change
        Is told the ids of studies that came or were answered; must return at once.
    on_answer
        Is told each answer, also that an image could not be read; must return at once.
    """

    def __init__(
        self,
        record: Record,
        predictor: Predictor,
        *,
        decoders: int = 2,
        on_their_way: int = 128,
        waiting: int = 100_000,
        on_change: Callable[[Iterable[str]], None] = lambda _: None,
        on_answer: Callable[[Finding], None] = lambda _: None,
    ) -> None:
        self.record = record
        self.terms = Terms(predictor.bundle.sha256, predictor.precision, predictor.operating_point)
        self.decoder = Decoder(predictor.preprocessing, workers=decoders)
        self.batcher = Batcher(predictor, self.decoder, limit=on_their_way)
        self.writer = Writer(record)
        self._waiting = waiting
        self._on_change = on_change
        self._on_answer = on_answer
        self._filing = ThreadPoolExecutor(_FILING_THREADS, thread_name_prefix="filing")
        self._in_flight: dict[str, Future[Reply]] = {}
        self._lock = threading.Lock()
        self._worker = QueueWorker(
            record, self.writer, self.batcher, predictor, self.terms.bundle, on_change, on_answer
        )

    def close(self) -> None:
        """Finish what was begun and stop; what waits in the queue goes on waiting."""
        self._worker.close()
        self.batcher.close()
        self.decoder.close()
        self._filing.shutdown()
        self.writer.close()

    @property
    def is_alive(self) -> bool:
        """Whether images are answered."""
        return self._worker.is_alive

    # -- for callers who wait -----------------------------------------------------------------

    def answer(self, sent: Sent) -> Future[Reply]:
        """Answer an image; the future is done once the answer is on the disk.

        The same image asked for twice at once is answered once.

        Raises
        ------
        OverloadedError
            Too many images are on their way.
        """
        sha256 = sent.sha256
        if sent.again:
            return self._answer(sent)
        with self._lock:
            running = self._in_flight.get(sha256)
            # Whose patient it is, the one who comes second says too: that is checked when filed.
            if running is None or sent.patient:
                future = self._answer(sent)
                self._in_flight[sha256] = future
            else:
                future = _repeat(running)
        future.add_done_callback(lambda _: self._forget(sha256, future))
        return future

    def find_answer(self, sent: Sent) -> Filed | None:
        """Return where the answer to an image lies, if it was given under the same terms.

        Nothing is written; an image that is sent with something new to say about it is not found.
        """
        sha256 = sent.sha256  # here, off the event loop, also where nothing is looked for
        if sent.again or sent.patient or sent.taken_on:
            return None
        with self.record.read() as session:
            row = session.execute(
                select(Prediction.id, Study.id)
                .join(Study, Study.id == Prediction.study_id)
                .where(
                    Study.single == sha256,
                    match_terms(self.terms),
                    Prediction.state == State.DONE,
                )
            ).first()
        return Filed(row[0], row[1], False) if row else None

    def _answer(self, sent: Sent) -> Future[Reply]:
        future: Future[Reply] = Future()
        future.set_running_or_notify_cancel()

        def keep(answered: Future[Answer]) -> None:
            try:
                answer = answered.result()
                self._on_answer(answer.finding)
                if answer.finding.status is Status.ERROR:
                    future.set_result(Reply(answer.finding, None))
                    return
                self._filing.submit(self._file, sent, answer, future)
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)

        self.batcher.submit(sent.data, sent.name).add_done_callback(keep)
        return future

    def _file(self, sent: Sent, answer: Answer, future: Future[Reply]) -> None:
        try:
            with self.record.keep_images():
                self.record.images.put(sent.data)
                submission = _describe(sent, answer.header)
                entry = Answered(submission, self.terms, answer.finding, answer.timings)
                filed = self.writer.join(file_answers, entry).result()
            if filed.is_new:
                self._on_change([filed.study_id])
            future.set_result(Reply(answer.finding, filed))
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            future.set_exception(error)

    def _forget(self, sha256: str, future: Future[Reply]) -> None:
        with self._lock:
            if self._in_flight.get(sha256) is future:
                del self._in_flight[sha256]

    # -- for callers who come back ------------------------------------------------------------

    def enqueue(self, images: Sequence[Sent]) -> list[Queued | RecordError]:
        """Keep images, and put those that have no answer into the queue; then return.

        Raises
        ------
        OverloadedError
            The queue is full.
        """
        with self.record.read() as session:
            waiting = count_waiting(session)
        if waiting + len(images) > self._waiting:
            raise OverloadedError(
                f"{waiting:,} images wait already, {self._waiting:,} may: try again later."
            )
        headers = [self._read_header(sent) for sent in images]
        with self.record.keep_images():
            for sent in images:
                self.record.images.put(sent.data)
            futures = [
                self.writer.join(self._enqueue_all, _describe(sent, header))
                for sent, header in zip(images, headers, strict=True)
            ]
            outcomes: list[Queued | RecordError] = []
            for future in futures:
                try:
                    outcomes.append(future.result())
                except RecordError as error:
                    outcomes.append(error)
        self._worker.wake()
        self._on_change([o.study_id for o in outcomes if isinstance(o, Queued) and o.is_new])
        return outcomes

    def _read_header(self, sent: Sent) -> Header:
        """Return what a file says of itself; nothing where it says nothing, or cannot be read."""
        if not is_dicom(sent.data):
            return NO_HEADER
        try:
            return self.decoder.run(sent.name, read_header, sent.data).result()
        except ImageError:
            return NO_HEADER  # it is answered so in its turn

    def _enqueue_all(self, session: Session, entries: list[Submission]) -> list[Queued | Exception]:
        queued: list[Queued | Exception] = []
        for entry in entries:
            study = file_study(session, entry)
            if entry.job_id:
                session.merge(JobStudy(job_id=entry.job_id, study_id=study.id))
            prediction, is_new = ask(session, study, self.terms, entry.asked_by)
            queued.append(Queued(study.id, prediction.id, entry.name, is_new))
        return queued


def _describe(sent: Sent, header: Header) -> Submission:
    """Return a submission; what the file says of itself goes before what is said about it."""
    return Submission(
        image_sha256=sent.sha256,
        size=len(sent.data),
        name=sent.name,
        asked_by=sent.asked_by,
        source=sent.source,
        patient=clean_key(header.patient_id) or sent.patient,
        taken_on=header.taken_on or sent.taken_on,
        job_id=sent.job_id,
        again=sent.again,
    )


def _repeat(running: Future[Reply]) -> Future[Reply]:
    """Return a future of the same reply, which was new to the first caller only."""
    repeated: Future[Reply] = Future()
    repeated.set_running_or_notify_cancel()

    def tell(done: Future[Reply]) -> None:
        error = done.exception()
        if error is not None:
            repeated.set_exception(error)
            return
        reply = done.result()
        filed = reply.filed._replace(is_new=False) if reply.filed else None
        repeated.set_result(Reply(reply.finding, filed))

    running.add_done_callback(tell)
    return repeated

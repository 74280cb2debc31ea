"""Batches made of what waits: many who ask at once are answered with one forward pass."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from typing import NamedTuple

from pneumoscope.errors import ImageError, OverloadedError
from pneumoscope.images import NO_HEADER, Header
from pneumoscope.runtime.decoder import Decoder, Prepared
from pneumoscope.runtime.finding import Finding
from pneumoscope.runtime.predictor import Predictor


class Answer(NamedTuple):
    """A finding, what it took, and what the file says of itself."""

    finding: Finding
    timings: dict[str, float]
    """Milliseconds: `decode`, `wait` (for the batch before), `forward` (of the whole batch) and
    `total` since it was asked for."""
    header: Header = NO_HEADER


class _Waiting(NamedTuple):
    prepared: Prepared
    asked: float
    ready: float
    future: Future[Answer]


class Batcher:
    """Answers images from many threads; nobody waits for a batch to fill.

    While one batch is answered the next one gathers, so that batches grow with the load, and one
    image alone is answered at once.

    Parameters
    ----------
    most
        Images in a batch.
    limit
        Images on their way; one more is refused.
    """

    def __init__(
        self, predictor: Predictor, decoder: Decoder, *, most: int = 16, limit: int = 128
    ) -> None:
        self._predictor = predictor
        self._decoder = decoder
        self._most = most
        self._limit = limit
        self._lock = threading.Lock()
        self._on_their_way = 0
        self._ready: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    @property
    def on_their_way(self) -> int:
        """Images that were asked for and are not answered yet."""
        return self._on_their_way

    def submit(self, data: bytes, name: str) -> Future[Answer]:
        """Answer an image's bytes soon; what cannot be read becomes a finding that says so.

        Raises
        ------
        OverloadedError
            As many images as may be are on their way.
        """
        with self._lock:
            if self._on_their_way >= self._limit:
                raise OverloadedError(
                    f"{self._limit} images are being answered, as many as may be: try again soon."
                )
            self._on_their_way += 1
        future: Future[Answer] = Future()
        future.set_running_or_notify_cancel()
        future.add_done_callback(self._count_down)
        asked = time.perf_counter()

        def take(done: Future[Prepared]) -> None:
            error = done.exception()
            if error is None:
                self._ready.put(_Waiting(done.result(), asked, time.perf_counter(), future))
            elif isinstance(error, ImageError):
                finding = self._predictor.report_error(name, str(error))
                future.set_result(Answer(finding, {"total": _since(asked)}))
            else:
                future.set_exception(error)

        self._decoder.prepare(data, name).add_done_callback(take)
        return future

    def close(self) -> None:
        """Answer what is ready, and stop."""
        self._ready.put(None)
        self._thread.join()

    def _count_down(self, _: Future[Answer]) -> None:
        with self._lock:
            self._on_their_way -= 1

    def _run(self) -> None:
        while (first := self._ready.get()) is not None:
            batch, last = [first], False
            while len(batch) < self._most and not self._ready.empty():
                waiting = self._ready.get()
                if waiting is None:
                    last = True
                    break
                batch.append(waiting)
            self._answer(batch)
            if last:
                return

    def _answer(self, batch: list[_Waiting]) -> None:
        started = time.perf_counter()
        try:
            findings = self._predictor.answer_prepared(
                [(entry.prepared.radiograph, entry.prepared.square) for entry in batch]
            )
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, and the next are answered
            for entry in batch:
                entry.future.set_exception(error)
            return
        forward = _since(started)
        for entry, finding in zip(batch, findings, strict=True):
            timings = {
                "decode": entry.prepared.milliseconds,
                "wait": (started - entry.ready) * 1000,
                "forward": forward,
                "total": _since(entry.asked),
            }
            stated = entry.prepared.radiograph
            header = Header(stated.patient_id, stated.taken_on)
            entry.future.set_result(Answer(finding, timings, header))


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000

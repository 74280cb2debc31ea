"""One thread that writes for many: changes that wait together are committed together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from pneumoscope.records.record import Record

T = TypeVar("T")
#: Changes in one transaction.
_MOST = 64


class Writer:
    """Takes changes and makes them durable, several with one commit.

    A change that fails is undone alone; the others of its group stand. A future that is done was
    committed, and is on the disk.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: queue.SimpleQueue[tuple[Callable[[Session], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[Session], T]) -> Future[T]:
        """Make a change soon; the future has what it returns once it is committed."""
        future: Future[T] = Future()
        self._waiting.put((change, future))
        return future

    def close(self) -> None:
        """Make the changes that wait, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            group = [self._waiting.get()]
            while len(group) < _MOST and group[-1] is not None and not self._waiting.empty():
                group.append(self._waiting.get())
            self._commit([entry for entry in group if entry is not None])
            if group[-1] is None:
                return

    def _commit(self, group: list[tuple[Callable[[Session], Any], Future[Any]]]) -> None:
        if not group:
            return
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._record.begin() as session:
                for change, future in group:
                    try:
                        with session.begin_nested():
                            outcomes.append((future, change(session), None))
                    except Exception as error:  # noqa: BLE001 - whoever asked gets it
                        outcomes.append((future, None, error))
        except BaseException as error:  # noqa: BLE001 - nothing was committed: all must hear of it
            for _, future in group:
                future.set_exception(error)
            return
        for future, value, failure in outcomes:
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(value)

"""One thread that writes for many: changes that wait together are committed together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.orm import Session

from pneumoscope.records.record import Record

T = TypeVar("T")
X = TypeVar("X")
#: Changes in one transaction.
_MOST = 64

#: Makes a change for each item, and returns what came of each: a value, or the error.
Bulk = Callable[[Session, list[X]], list[T | Exception]]


class _Waiting(NamedTuple):
    bulk: Bulk[Any, Any]
    item: Any
    future: Future[Any]


class Writer:
    """Takes changes and makes them durable, several with one commit.

    A change that fails is undone alone; the others of its group stand. A future that is done was
    committed, and is on the disk; the log's head outside the database follows right after it, so
    that nobody waits for that.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[Session], T]) -> Future[T]:
        """Make a change soon; the future has what it returns once it is committed."""
        return self.join(_make_each, change)

    def join(self, bulk: Bulk[X, T], item: X) -> Future[T]:
        """Make a change together with others of its kind that wait, with few statements."""
        future: Future[T] = Future()
        self._waiting.put(_Waiting(bulk, item, future))
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

    def _commit(self, group: list[_Waiting]) -> None:
        if not group:
            return
        outcomes: list[Any] = []
        try:
            with self._record.begin_quickly() as session:
                for bulk, entries in groupby(group, key=lambda entry: entry.bulk):
                    outcomes += _make(session, bulk, [entry.item for entry in entries])
        except BaseException as error:  # noqa: BLE001 - nothing was committed: all must hear of it
            for entry in group:
                entry.future.set_exception(error)
            return
        for entry, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)
        self._record.advance_heads(session)


def _make(session: Session, bulk: Bulk[Any, Any], items: list[Any]) -> list[Any]:
    """Make changes of one kind together; where that fails, each alone."""
    try:
        with session.begin_nested():
            return bulk(session, items)
    except Exception as error:  # noqa: BLE001 - whoever asked gets it
        if len(items) == 1:
            return [error]
        return [outcome for item in items for outcome in _make(session, bulk, [item])]


def _make_each(session: Session, changes: list[Callable[[Session], Any]]) -> list[Any]:
    return [change(session) for change in changes]

"""Work on a stream: chunks of it in several threads at once, results in order, memory flat."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _StoppedError(Exception):
    """Nobody waits for this work any more."""


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    work: Callable[[Iterator[T]], Sequence[R]], source: Iterable[T], *, jobs: int, chunk: int
) -> Generator[R, None, None]:
    """Yield the results of `work` on chunks of a source, in the source's order.

    Every thread does the whole of the work on its chunk, so that all cores stay busy whatever its
    parts cost; what they wait for must release Python's lock. At most `2 * jobs` chunks are read
    ahead of what was asked for: the source may be endless. Closing the generator, or an exception
    in it, stops the threads at their next item.

    Parameters
    ----------
    work
        Takes the items of one chunk, returns its results; called in several threads at once. An
        exception ends the stream.
    jobs
        Threads, from 1 on.
    chunk
        Items handed over at once, from 1 on.
    """
    items = iter(source)
    stopped = threading.Event()

    def work_until_stopped(part: list[T]) -> Sequence[R]:
        return work(_take_until(stopped, part))

    with ThreadPoolExecutor(jobs, thread_name_prefix="pneumoscope") as pool:
        waiting: deque[Future[Sequence[R]]] = deque()
        try:
            while True:
                while len(waiting) < 2 * jobs and (part := list(islice(items, chunk))):
                    waiting.append(pool.submit(work_until_stopped, part))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _take_until(stopped: threading.Event, part: list[T]) -> Iterator[T]:
    for item in part:
        if stopped.is_set():
            raise _StoppedError
        yield item

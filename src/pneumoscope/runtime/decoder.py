"""Decoding in processes of their own: what ends one is an error for that image and no other."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from pneumoscope._extras import require_extra
from pneumoscope.errors import ImageError, ServiceError
from pneumoscope.images import PreprocessingSpec, Radiograph, read, reduce_to_square, resample

if TYPE_CHECKING:
    from pebble import ProcessPool

P = ParamSpec("P")
T = TypeVar("T")

#: What one image may take before it is given up, in seconds; a large radiograph takes one.
TIMEOUT = 20.0
#: Memory of one process, in bytes; the largest image allowed takes half of it.
MAX_MEMORY = 3 * 2**30
#: A process is replaced after so many images: what a codec leaks does not add up.
_MAX_TASKS = 20_000
#: Seconds that a process may take to start, on a machine that has much else to do.
_START = 120.0


class Prepared(NamedTuple):
    """An image that is ready for the network."""

    radiograph: Radiograph
    """Its facts; the pixels are those of the square."""
    square: NDArray[np.uint8]
    """uint8 [size, size]."""
    milliseconds: float
    """What reading and resampling took."""


class Decoder:
    """A few processes that read images which nobody vouches for.

    Parameters
    ----------
    workers
        Processes; one that dies is replaced.
    timeout
        Seconds for one image.

    Raises
    ------
    MissingExtraError
        The extra `serve` is not installed.
    ServiceError
        No process can be started.
    """

    def __init__(
        self, spec: PreprocessingSpec, *, workers: int = 2, timeout: float = TIMEOUT
    ) -> None:
        require_extra("serve", "pebble", purpose="Decoding in processes of their own")
        self._spec = spec
        self._workers = workers
        self._timeout = timeout
        self._closed = False
        self._lock = threading.Lock()
        self._pool = self._open()
        # They start now, not when somebody waits; and where they cannot, that is said now.
        try:
            for started in [self._pool.schedule(os.getpid) for _ in range(workers)]:
                started.result(_START)
        except Exception as error:
            self.close()
            raise ServiceError(f"No process that reads images can be started: {error}.") from error

    def prepare(self, data: bytes, name: str) -> Future[Prepared]:
        """Read an image's bytes and resample it; an `ImageError` says why that is impossible."""
        return self.run(name, _prepare, data, name, self._spec)

    def run(self, name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do other work with an image in such a process: a function of a module, and its arguments.

        Parameters
        ----------
        name
            What to call the image in errors.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def hand_over(done: Future[T]) -> None:
            error = done.exception()
            if error is None:
                future.set_result(done.result())
            else:
                future.set_exception(self._explain(error, name))

        self._schedule(work, args, kwargs).add_done_callback(hand_over)
        return future

    def close(self) -> None:
        """End the processes; what they were at is given up."""
        self._closed = True
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _open(self) -> ProcessPool:
        from pebble import ProcessPool

        return ProcessPool(
            max_workers=self._workers,
            max_tasks=_MAX_TASKS,
            initializer=_limit,
            context=multiprocessing.get_context("spawn"),  # a fork would copy other threads' locks
        )

    def _schedule(
        self, work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[T]:
        with self._lock:
            if not self._pool.active and not self._closed:
                # The pool itself broke, as when no process could be started for a while.
                self._pool = self._open()
            task: Future[T] = self._pool.schedule(
                work, args=args, kwargs=kwargs, timeout=self._timeout
            )
            return task

    def _explain(self, error: BaseException, name: str) -> BaseException:
        from pebble import ProcessExpired

        if isinstance(error, TimeoutError):
            return ImageError(f"{name} takes longer than {self._timeout:.0f} seconds to read.")
        if isinstance(error, ProcessExpired | MemoryError):
            return ImageError(
                f"{name} ended the process that read it: it is damaged, or made to do harm."
            )
        return error


def _prepare(data: bytes, name: str, spec: PreprocessingSpec) -> Prepared:
    started = time.perf_counter()
    radiograph = read(data, name=name, target_size=spec.size)
    square = resample(radiograph, spec)
    milliseconds = (time.perf_counter() - started) * 1000
    return Prepared(reduce_to_square(radiograph, square), square, milliseconds)


def _limit() -> None:
    """Let a hostile image take neither all memory nor leave a core dump; and leave Ctrl-C alone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service says when its processes end
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))

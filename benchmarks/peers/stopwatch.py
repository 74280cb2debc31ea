"""Times a call again and again: shared by what is compared, whatever environment it runs in."""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

WARM_UP = 3


def time_batches(prepare: Callable[[int], Callable[[], object]], seconds: float) -> dict[str, Any]:
    """Return the median latency of one image in ms, and images a second by batch size.

    Parameters
    ----------
    prepare
        Takes a batch size and returns a call that answers such a batch.
    seconds
        How long each batch size is repeated, after a warm-up.
    """
    taken = {batch: time_call(prepare(batch), seconds) for batch in (1, 8, 32)}
    rates = {str(batch): batch * len(each) / sum(each) for batch, each in taken.items()}
    return {"latency_ms": 1000 * statistics.median(taken[1]), "rates": rates}


def time_call(call: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds of each call, at least three of them."""
    for _ in range(WARM_UP):
        call()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return taken


def report(**said: Any) -> None:
    """Print what was measured, and the memory that it took at its peak, as the last line."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(said | {"peak_mib": peak}), flush=True)

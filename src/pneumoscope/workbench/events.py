"""Events: whoever watches hears which studies changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

#: Studies that a slow watcher may be behind; after that it is told to look at everything anew.
_BEHIND = 1_000


class Events:
    """Tells watchers within one event loop; publishing is safe from any thread."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Queue[str]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def publish(self, studies: Iterable[str]) -> None:
        """Say that these studies changed."""
        if self._loop is not None and self._watchers and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._spread, list(studies))

    async def watch(self, *, pause: float) -> AsyncIterator[str | None]:
        """Yield the ids of studies as they change; None where nothing did for `pause` seconds."""
        self._loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[str] = asyncio.Queue(_BEHIND)
        self._watchers.add(waiting)
        try:
            while not self._closed:
                try:
                    yield await asyncio.wait_for(waiting.get(), pause)
                except TimeoutError:
                    yield None
        finally:
            self._watchers.discard(waiting)

    def close(self) -> None:
        """Let all watchers go."""
        self._closed = True
        self.publish([""])

    def _spread(self, studies: list[str]) -> None:
        for waiting in self._watchers:
            for study in studies:
                if waiting.full():
                    waiting.get_nowait()
                waiting.put_nowait(study)

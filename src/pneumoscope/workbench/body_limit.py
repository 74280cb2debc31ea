"""Limits on what a request may send, kept before anything of it is understood."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumoscope.workbench.problems import Problem, describe_problem
from pneumoscope.workbench.settings import Limits

#: Form fields and boundaries around a file.
_AROUND = 2**20
#: Requests that carry many files.
_LARGE = frozenset({"/api/v1/jobs"})


class BodyLimit:
    """Refuses requests that are too long (413) or take too long to arrive (408)."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        large = scope["path"] in _LARGE
        most = (self._limits.request_bytes if large else self._limits.file_bytes) + _AROUND
        stated = dict(scope["headers"]).get(b"content-length", b"")
        if stated.isdigit() and int(stated) > most:
            await describe_problem(_too_long(most))(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._limits.request_seconds
        seen, complete = 0, False

        async def count() -> Message:
            nonlocal seen, complete
            if complete:  # from here on only the end of the connection is waited for
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                seconds = self._limits.request_seconds
                raise Problem(
                    408, f"The request did not arrive within {seconds:.0f} seconds."
                ) from None
            seen += len(message.get("body", b""))
            if seen > most:
                raise _too_long(most)
            complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        await self._app(scope, count, send)


def _too_long(most: int) -> Problem:
    return Problem(413, f"The request is too large: at most {most >> 20} MiB are taken at once.")

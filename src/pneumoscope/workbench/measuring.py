"""Counts requests as they pass."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumoscope.workbench.meters import Meters


class Measuring:
    """Notes method, route, status and seconds of each request; never an address or an id."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its answer when it starts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _name_route(scope)
                self._meters.requests.labels(scope["method"], route, message["status"]).inc()
                self._meters.seconds.labels(route).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, count)


def _name_route(scope: Scope) -> str:
    """Return a route's pattern, so that ids do not make as many series."""
    if "route" not in scope:
        return "other"
    path = str(scope["path"])
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}", 1)
    return path

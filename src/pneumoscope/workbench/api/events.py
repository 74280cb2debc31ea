"""Events: which studies changed, as they change (server-sent events)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from pneumoscope.workbench.api.schemas import describe_problems
from pneumoscope.workbench.dependencies import ServiceDependency
from pneumoscope.workbench.service import Service

router = APIRouter(tags=["events"])
#: Seconds between signs of life, so that proxies keep the connection open.
_PAUSE = 15.0
#: Seconds after which a watcher has to come again, and be known still.
_LONGEST = 900.0


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "An event for each change."},
        **describe_problems(401, 403, 429),
    },
)
async def watch_studies(service: ServiceDependency) -> StreamingResponse:
    """Stream an event `study` with the id of each study that comes, is answered or is read."""
    return StreamingResponse(
        _tell(service),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _tell(service: Service) -> AsyncIterator[str]:
    yield "retry: 3000\n\n"
    until = time.monotonic() + _LONGEST
    async for study in service.events.watch(pause=_PAUSE):
        if time.monotonic() > until:
            return
        yield f"event: study\ndata: {json.dumps({'id': study})}\n\n" if study else ": here\n\n"

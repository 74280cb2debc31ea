"""The answer to a request that may not go on: a problem of RFC 9457, before any route."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse, Response


def make_refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem document; nothing that was sent stands in it."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        },
        status,
        headers,
        media_type="application/problem+json",
    )

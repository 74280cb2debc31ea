"""Why there is no answer, as RFC 9457 has programs told."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the standard's word for it
    """An answer that says why there is none.

    Parameters
    ----------
    detail
        One sentence for people: what was found, what is allowed, what to do next.
    members
        Further members of the object, for programs.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        members: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.members = members or {}


def describe_fields(status: int, detail: str) -> dict[str, Any]:
    """Return the members that every problem has."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


def describe_problem(problem: Problem) -> Response:
    """Return a problem as a response for programs."""
    body = describe_fields(problem.status, problem.detail) | problem.members
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)

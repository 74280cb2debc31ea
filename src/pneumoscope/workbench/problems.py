"""What went wrong, as RFC 9457 has programs told, and as a page where a browser asks."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from pneumoscope.errors import (
    ImageError,
    MissingExtraError,
    OverloadedError,
    PneumoscopeError,
    RecordError,
)
from pneumoscope.records import PatientConflictError
from pneumoscope.workbench.pages.failures import show_failure, wants_page

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
#: Seconds after which a service that had too much to do is worth asking again.
RETRY_AFTER = 2

_STATUS: dict[type[PneumoscopeError], int] = {
    OverloadedError: 503,
    PatientConflictError: 409,
    ImageError: 422,
    RecordError: 422,
    MissingExtraError: 501,
}


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


def describe_problem(problem: Problem) -> Response:
    """Return a problem as a response for programs."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)


def add_problems(app: FastAPI) -> None:
    """Answer every error in one way: a problem for programs, a page for browsers."""

    def answer(request: Request, problem: Problem) -> Response:
        if wants_page(request):
            page = show_failure(request, problem.status, problem.detail)
            page.headers.update(problem.headers)
            return page
        return describe_problem(problem)

    @app.exception_handler(Problem)
    def answer_problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    @app.exception_handler(PneumoscopeError)
    def answer_own(request: Request, error: PneumoscopeError) -> Response:
        status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
        headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
        return answer(request, Problem(status, str(error), headers=headers))

    @app.exception_handler(HTTPException)
    def answer_http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        return answer(request, Problem(error.status_code, str(error.detail), headers=headers))

    @app.exception_handler(RequestValidationError)
    def answer_invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"pointer": "/".join(str(part) for part in entry["loc"]), "detail": entry["msg"]}
            for entry in error.errors()
        ]
        first = (
            f"{errors[0]['pointer']}: {errors[0]['detail']}" if errors else "see the description"
        )
        detail = f"The request is not as it should be: {first}."
        return answer(request, Problem(422, detail, members={"errors": errors}))

    @app.exception_handler(Exception)
    def answer_unknown(request: Request, error: Exception) -> Response:
        # The path may name a study by its id; it never names a patient.
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(
            request, Problem(500, "Something went wrong inside the service; its log says what.")
        )

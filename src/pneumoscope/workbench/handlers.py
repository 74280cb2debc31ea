"""What becomes of an error: a problem for programs, a page where a browser asks."""

from __future__ import annotations

import errno
import logging
import re

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pneumoscope.errors import (
    ImageError,
    MissingExtraError,
    OverloadedError,
    PneumoscopeError,
    RecordError,
)
from pneumoscope.records import PatientConflictError
from pneumoscope.workbench.pages.failures import show_failure, wants_page
from pneumoscope.workbench.problems import Problem, describe_problem

_log = logging.getLogger(__name__)
#: Seconds after which a service that had too much to do is worth asking again.
RETRY_AFTER = 2

#: Seconds after which a disk may have room again, or a database be back.
_PATIENCE = 30
#: What a validator's kinds of complaint are in our words.
_KNOWN = {
    "model_attributes_type": "must be a JSON object",
    "extra_forbidden": "is nothing that is taken here",
}
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_STATUS: dict[type[PneumoscopeError], int] = {
    OverloadedError: 503,
    PatientConflictError: 409,
    ImageError: 422,
    RecordError: 422,
    MissingExtraError: 501,
}


def add_handlers(app: FastAPI) -> None:
    """Answer every error in one way: a problem for programs, a page for browsers."""
    app.add_middleware(Failures)

    @app.exception_handler(Problem)
    def answer_problem(request: Request, error: Problem) -> Response:
        return _answer(request, error)

    @app.exception_handler(PneumoscopeError)
    def answer_own(request: Request, error: PneumoscopeError) -> Response:
        status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
        headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
        return _answer(request, Problem(status, str(error), headers=headers))

    @app.exception_handler(HTTPException)
    def answer_http(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, Problem):  # a limit that was met while a form was read
            return _answer(request, error.__cause__)
        headers = dict(error.headers or {})
        return _answer(request, Problem(error.status_code, str(error.detail), headers=headers))

    @app.exception_handler(RequestValidationError)
    def answer_invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"pointer": "body", "detail": "is no JSON"}
            if entry["type"] == "json_invalid"
            else {
                "pointer": "/".join(map(str, entry["loc"])),
                "detail": _KNOWN.get(entry["type"]) or _spell(entry["msg"]),
            }
            for entry in error.errors()
        ]
        where, _, name = errors[0]["pointer"].partition("/")
        what = f"{name} in the {where}" if name else f"the {where}"
        detail = (
            f"The request is not as it should be: {what} {errors[0]['detail']}; the API's "
            "description at /api/v1/docs says what is taken."
        )
        return _answer(request, Problem(422, detail, members={"errors": errors}))


def _spell(message: str) -> str:
    """Return what a validator complains about as the end of a sentence whose subject is known."""
    said = re.sub(r"^(Field required|Missing \w+)$", "is missing", message)
    said = re.sub(r"^(Input|Value|String|List|Object|JSON) should ", "must ", said)
    said = re.sub(r", (unable to|input is|instance) .*$", "", said)
    return said if said.startswith(("is ", "must ")) else f"is wrong ({said})"


class Failures:
    """Answers what nobody foresaw, within everything that stands before the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; an error becomes an answer, if none was begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:
            problem = _find_cause(error)
            # The path may name a study by its id; it never names a patient.
            where = (scope["method"], scope["path"])
            if problem is None:
                _log.error("%s %s failed", *where, exc_info=error)
                problem = Problem(500, "Something went wrong inside; the log says what.")
            else:
                _log.error("%s %s: %s", *where, problem.detail)
            if begun:
                raise
            await _answer(Request(scope), problem)(scope, receive, send)


def _find_cause(error: BaseException) -> Problem | None:
    """Return what is wrong with the record's disk or database; None where it is something else."""
    causes = (error, error.__cause__, error.__context__, getattr(error, "orig", None))
    full = any(isinstance(cause, OSError) and cause.errno in _NO_SPACE for cause in causes)
    if full or "database or disk is full" in str(error):
        detail = "The disk of the record is full: nothing new is kept until there is room."
    elif isinstance(error, OperationalError | InterfaceError):
        detail = "The database does not answer: nothing is kept or shown until it does."
    elif isinstance(error, ProgrammingError):  # PostgreSQL's word for a table that is gone
        detail = "The database lacks what it had: `pneumoscope record verify` says what."
    else:
        return None
    return Problem(503, detail, headers={"Retry-After": str(_PATIENCE)})


def _answer(request: Request, problem: Problem) -> Response:
    if wants_page(request):
        page = show_failure(request, problem.status, problem.detail)
        page.headers.update(problem.headers)
        return page
    return describe_problem(problem)

"""Pages for browsers where something went wrong, in the look of the others."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import HTMLResponse

from pneumoscope.workbench.pages.layout import render

_ADVICE = {
    401: "Sign in first.",
    403: "Your role does not allow this; an admin's does.",
    404: "There is nothing at this address.",
    429: "Too many requests came from here; wait a little.",
    500: "Something went wrong inside; nothing that was acknowledged is lost. The log says more.",
    503: "The service has no room at the moment; try again soon.",
}


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page, to be answered with one whatever happens."""
    accepts = request.headers.get("accept", "")
    return "text/html" in accepts and not request.url.path.startswith("/api/")


def show_failure(request: Request, status: int, detail: str = "") -> HTMLResponse:
    """Return the page of an error; `detail` says what was wrong where that is known."""
    phrase = HTTPStatus(status).phrase
    told = detail if detail and detail != phrase else _ADVICE.get(status, "")
    return render(request, "failure.html", status=status, code=status, title=phrase, detail=told)

"""The workbench's pages, for people who look."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pneumoscope.workbench.pages import (
    exploring,
    model,
    monitoring,
    sign_in,
    upload,
    viewer,
    worklist,
)
from pneumoscope.workbench.pages.failures import show_failure, wants_page
from pneumoscope.workbench.pages.sign_in import keep_local, show_sign_in

__all__ = ["add_pages", "keep_local", "show_failure", "show_sign_in", "wants_page"]

_STATIC = Path(__file__).parent.parent / "static"


class _StaticFiles(StaticFiles):
    """Files that browsers keep but ask about each time: after an upgrade none is out of date."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages and their static files; `app.state.service` must be there when one is asked."""
    for page in (worklist, upload, viewer, exploring, model, monitoring, sign_in):
        app.include_router(page.router)
    app.mount("/static", _StaticFiles(directory=_STATIC), name="static")

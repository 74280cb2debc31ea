"""The page of the API's description, served from our own files."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from pneumoscope.workbench.pages.layout import render


def add_description(app: FastAPI) -> None:
    """Add `/api/v1/docs`: Swagger UI on the description at `/api/v1/openapi.json`."""

    @app.get("/api/v1/docs", include_in_schema=False)
    def show_description(request: Request) -> HTMLResponse:
        return render(request, "description.html")

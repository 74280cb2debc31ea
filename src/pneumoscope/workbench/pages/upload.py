"""The upload page; the work is done by its script, the API and the queue."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pneumoscope.images import IMAGE_SUFFIXES
from pneumoscope.workbench.pages.layout import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/upload")
def show_upload(request: Request) -> HTMLResponse:
    """Return the upload page."""
    return render(request, "upload.html", suffixes=sorted(IMAGE_SUFFIXES | {".zip"}))

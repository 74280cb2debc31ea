"""The parts of the API, gathered."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from pneumoscope.workbench.api import (
    events,
    health,
    jobs,
    metrics,
    model,
    pictures,
    predictions,
    readings,
    studies,
)

PREFIX = "/api/v1"


def add_api(app: FastAPI) -> None:
    """Add all routes of the API to an application."""
    router = APIRouter(prefix=PREFIX)
    for part in (
        predictions, pictures, jobs, studies, readings, events, model, health, metrics,
    ):  # fmt: skip
        router.include_router(part.router)
    app.include_router(router)

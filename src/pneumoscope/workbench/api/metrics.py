"""Metrics of the service, as Prometheus collects them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pneumoscope.workbench.api.schemas import describe_problems
from pneumoscope.workbench.dependencies import ServiceDependency

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "Prometheus text."},
        **describe_problems(401, 403, 429),
    },
)
def show_metrics(service: ServiceDependency) -> Response:
    """Return counts and latencies; nothing in them tells of a patient."""
    return Response(generate_latest(service.meters.registry), media_type=CONTENT_TYPE_LATEST)

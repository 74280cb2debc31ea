"""The model: what answers here, and how well it did on its calibration part."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from pneumoscope.workbench.api.schemas import ModelOut, describe_problems
from pneumoscope.workbench.dependencies import ServiceDependency

router = APIRouter(tags=["model"])


@router.get("/model", response_model=ModelOut, responses=describe_problems(401, 403, 429))
def show_model(service: ServiceDependency) -> dict[str, Any]:
    """Return the model's facts, its operating points and its numbers."""
    predictor = service.predictor
    info = predictor.bundle.info
    return {
        "name": info.name,
        "bundle": predictor.bundle.sha256,
        "created": info.created,
        "precision": predictor.precision,
        "operating_point": predictor.operating_point,
        "threshold": predictor.threshold,
        "rule_out": predictor.rule_out,
        "rule_in": predictor.rule_in,
        "operating_points": {
            name: point.model_dump() for name, point in predictor.operating_points.items()
        },
        "metrics": info.metrics,
        "warnings": [str(code) for code in predictor.warnings],
        "notice": "Research use, not a diagnosis.",
    }

"""The threshold explorer: what another threshold would give on the bundle's calibration part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from pneumoscope.evaluation import (
    compute_auc,
    delong_interval,
    project_to_prevalences,
    tabulate_thresholds,
)
from pneumoscope.records import Study
from pneumoscope.workbench.calibration_part import CalibrationPart, read_calibration_part
from pneumoscope.workbench.dependencies import get_service
from pneumoscope.workbench.pages.charts import draw_roc
from pneumoscope.workbench.pages.layout import render

router = APIRouter(include_in_schema=False)

#: Steps of the slider, and studies of today's list that are counted.
_STEPS, _MOST = 500, 20_000
_COLUMNS = (
    "threshold", "tp", "fn", "fp", "tn", "sensitivity_low", "sensitivity_high",
    "specificity_low", "specificity_high",
)  # fmt: skip


@router.get("/explore", response_class=HTMLResponse)
def show_explorer(request: Request) -> HTMLResponse:
    """Return the threshold explorer."""
    predictor = get_service(request).predictor
    part = read_calibration_part(predictor.bundle)
    points = {name: point.threshold for name, point in predictor.operating_points.items()}
    auc = compute_auc(part.labels, part.probabilities)
    return render(
        request,
        "explore.html",
        roc=draw_roc(part.labels, part.probabilities, points),
        points=points,
        decides=predictor.threshold,
        auc=auc,
        auc_interval=delong_interval(part.labels, part.probabilities),
        positives=int(part.labels.sum()),
        negatives=int((part.labels == 0).sum()),
    )


@router.get("/explore/data")
def give_data(request: Request) -> dict[str, Any]:
    """Return what each threshold gives, and the scores of the last 24 hours."""
    service = get_service(request)
    part = read_calibration_part(service.predictor.bundle)
    since = datetime.now(UTC) - timedelta(days=1)
    with service.record.read() as session:
        today = session.scalars(
            select(Study.probability)
            .where(Study.received_at >= since, Study.probability.is_not(None))
            .order_by(Study.received_at.desc())
            .limit(_MOST)
        ).all()
    return {**_tabulate(part), "today": [round(p, 5) for p in today if p is not None]}


@router.get("/explore/people")
def project(
    request: Request,
    threshold: Annotated[float, Query(ge=0, le=1)],
    prevalence: Annotated[float, Query(gt=0, lt=1)],
) -> dict[str, Any]:
    """Return what a threshold means for 1,000 people of whom a share is ill."""
    part = read_calibration_part(get_service(request).predictor.bundle)
    called = part.probabilities >= threshold
    return project_to_prevalences(part.labels, called, [prevalence])[0].to_dict()


def _tabulate(part: CalibrationPart) -> dict[str, Any]:
    rows = tabulate_thresholds(part.labels, part.probabilities, _STEPS)
    return {"columns": _COLUMNS, "rows": [[row[name] for name in _COLUMNS] for row in rows]}

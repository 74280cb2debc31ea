"""Studies: the worklist for programs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from pneumoscope.records import (
    Role,
    StudyQuery,
    count_studies,
    list_priors,
    list_readings,
    list_studies,
)
from pneumoscope.records.forgetting import forget_study
from pneumoscope.workbench.api.schemas import (
    StudyDetail,
    StudyPage,
    describe_problems,
    show_reading,
    show_study,
)
from pneumoscope.workbench.dependencies import ServiceDependency, get_study
from pneumoscope.workbench.security import require

router = APIRouter(tags=["studies"])


@router.get("/studies", response_model=StudyPage, responses=describe_problems(401, 403, 422, 429))
def list_worklist(
    service: ServiceDependency,
    decision: Annotated[
        Literal["NORMAL", "PNEUMONIA", "REFER", "REJECTED", "ERROR", "WAITING"] | None, Query()
    ] = None,
    text: Annotated[str, Query(max_length=256, description="In the name or the patient.")] = "",
    unread: Annotated[bool, Query(description="Only what no person has read.")] = False,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """Return a part of the worklist: PNEUMONIA first, then REFER, then the rest, latest first."""
    query = StudyQuery(decision=decision, text=text.replace("\0", ""), unread=unread)
    with service.record.read() as session:
        rows = list_studies(session, query, offset=offset, limit=limit)
        total = count_studies(session, query)
    return {"total": total, "offset": offset, "studies": [*map(show_study, rows)]}


@router.get(
    "/studies/{study_id}",
    response_model=StudyDetail,
    responses=describe_problems(401, 403, 404, 422, 429),
)
def read_study(service: ServiceDependency, study_id: str) -> dict[str, Any]:
    """Return a study with all that was said about it, and the patient's other studies."""
    with service.record.read() as session:
        row = get_study(session, study_id)
        said = [show_reading(reading) for reading in list_readings(session, study_id)]
        priors = [show_study(prior) for prior in list_priors(session, row)]
    return show_study(row) | {"readings": said, "priors": priors}


@router.delete(
    "/studies/{study_id}",
    status_code=204,
    dependencies=[Depends(require(Role.ADMIN))],
    responses=describe_problems(401, 403, 404, 422, 429),
)
def delete_study(service: ServiceDependency, study_id: str) -> Response:
    """Delete a study with its answers and readings, and its image if no other study has it."""
    with service.record.read() as session:
        get_study(session, study_id)
    forget_study(service.record, study_id)
    service.events.publish([study_id])
    return Response(status_code=204)

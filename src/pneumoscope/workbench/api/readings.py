"""Readings: what people say, and what they said as labels for training."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from pneumoscope.records import Verdict, add_reading, write_readings_zip
from pneumoscope.workbench.api.schemas import (
    ReadingIn,
    ReadingOut,
    describe_problems,
    show_reading,
)
from pneumoscope.workbench.dependencies import CallerDependency, ServiceDependency, get_study

router = APIRouter(tags=["readings"])


@router.post(
    "/studies/{study_id}/readings",
    status_code=201,
    response_model=ReadingOut,
    responses=describe_problems(401, 403, 404, 422, 429),
)
def file_reading(
    service: ServiceDependency, caller: CallerDependency, study_id: str, reading: ReadingIn
) -> dict[str, Any]:
    """Write down what a reader says; the model's answer stays as it is."""
    comment = "".join(c for c in reading.comment if c.isprintable() or c in "\n\t")
    with service.record.begin() as session:
        get_study(session, study_id)
        made = add_reading(
            session, study_id, caller, Verdict(reading.verdict), reading.label, comment
        )
        shown = show_reading(made)
    service.events.publish([study_id])
    return shown


@router.get(
    "/readings/export",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/zip": {}}, "description": "manifest.csv and the images."},
        **describe_problems(401, 403, 429),
    },
)
def export_labels(service: ServiceDependency) -> StreamingResponse:
    """Return studies with the labels that people gave, as a manifest that `train` takes."""
    archive = tempfile.TemporaryFile()  # noqa: SIM115 - closed when its last piece is sent
    try:
        write_readings_zip(service.record, archive)
    except BaseException:
        archive.close()
        raise
    archive.seek(0)
    return StreamingResponse(
        _drain(archive),
        media_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="readings.zip"'},
    )


def _drain(archive: IO[bytes]) -> Iterator[bytes]:
    with archive:
        while piece := archive.read(1 << 18):
            yield piece

"""Predictions: an image in, its record out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response

from pneumoscope.records import Filed, Sent
from pneumoscope.workbench import fhir
from pneumoscope.workbench.api.schemas import PredictionOut, describe_problems, show_prediction
from pneumoscope.workbench.dependencies import (
    CallerDependency,
    ServiceDependency,
    get_prediction,
)
from pneumoscope.workbench.problems import Problem
from pneumoscope.workbench.service import Service
from pneumoscope.workbench.uploads import check_date, check_patient, clean_name, is_zip

router = APIRouter(tags=["predictions"])

PatientForm = Annotated[
    str | None, Form(description="The key by which you know the patient; needed for priors.")
]
DateForm = Annotated[str | None, Form(description="When the radiograph was taken: 2026-01-31.")]
AgainForm = Annotated[
    bool, Form(description="Make a study of its own, also where the image has one.")
]


@router.post(
    "/predictions",
    status_code=201,
    response_model=PredictionOut,
    responses={
        200: {"model": PredictionOut, "description": "The image had an answer already."},
        **describe_problems(401, 403, 409, 413, 422, 429, 503),
    },
)
async def submit_image(
    request: Request,
    service: ServiceDependency,
    caller: CallerDependency,
    file: Annotated[UploadFile, File(description="JPEG, PNG, TIFF, BMP, WebP or DICOM.")],
    patient: PatientForm = None,
    taken_on: DateForm = None,
    again: AgainForm = False,
) -> Response:
    """Answer one image, and keep it with its answer.

    The answer is on the disk before it is given. The same image asked for again under the same
    terms is one study with one answer. What cannot be read is no study: its record is a member of
    the problem.
    """
    limit = service.settings.limits.file_bytes
    name = clean_name(file.filename)
    if len((await request.form()).getlist("file")) > 1:
        raise Problem(422, "More than one file was sent: send them to /api/v1/jobs.")
    if (file.size or 0) > limit:
        raise Problem(413, f"{name} has more than {limit >> 20} MiB, the most allowed.")
    if is_zip(file.file):
        raise Problem(422, f"{name} is an archive of images: send it to /api/v1/jobs.")
    sent = Sent(
        data=await file.read(),
        name=name,
        asked_by=caller,
        patient=check_patient(patient),
        taken_on=check_date(taken_on),
        again=again,
    )
    found = await run_sync(service.intake.find_answer, sent)
    if found is not None:
        return JSONResponse(await run_sync(_load, service, found), 200)
    reply = await asyncio.wrap_future(service.intake.answer(sent))
    if reply.filed is None:
        raise Problem(422, reply.finding.message, members={"record": reply.finding.to_record()})
    if not reply.filed.is_new:
        return JSONResponse(await run_sync(_load, service, reply.filed), 200)
    place = {"id": reply.filed.prediction_id, "study": reply.filed.study_id, "state": "done"}
    location = {"Location": f"/api/v1/predictions/{reply.filed.prediction_id}"}
    return JSONResponse(reply.finding.to_record() | place, 201, location)


@router.get(
    "/predictions/{prediction_id}",
    response_model=PredictionOut,
    responses={
        200: {"content": {fhir.MEDIA_TYPE: {}}, "description": "The record, or a FHIR report."},
        **describe_problems(401, 403, 404, 406, 422, 429),
    },
)
def read_prediction(request: Request, service: ServiceDependency, prediction_id: str) -> Response:
    """Return an answer: as our record, or as a FHIR R4 DiagnosticReport where one accepts that."""
    with service.record.read() as session:
        prediction, study = get_prediction(session, prediction_id)
        accept = request.headers.get("accept", "")
        if fhir.wants_xml(accept):
            raise Problem(406, f"FHIR resources come as JSON: accept {fhir.MEDIA_TYPE}.")
        if fhir.is_wanted(accept):
            report = fhir.build_report(
                session, prediction, study, service.predictor.bundle.info.name
            )
            return Response(fhir.encode(report), media_type=fhir.MEDIA_TYPE)
        return JSONResponse(show_prediction(prediction, study))


def _load(service: Service, filed: Filed) -> dict[str, Any]:
    with service.record.read() as session:
        return show_prediction(*get_prediction(session, filed.prediction_id))

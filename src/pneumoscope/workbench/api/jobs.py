"""Jobs: many images in, answered in their turn, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile

from pneumoscope.records import (
    Queued,
    Sent,
    StudyQuery,
    count_studies,
    list_studies,
    make_id,
)
from pneumoscope.workbench.api.schemas import JobOut, JobState, describe_problems, show_study
from pneumoscope.workbench.dependencies import CallerDependency, ServiceDependency
from pneumoscope.workbench.problems import Problem
from pneumoscope.workbench.service import Service
from pneumoscope.workbench.uploads import Upload, check_date, check_patient, open_upload

router = APIRouter(tags=["jobs"])
#: Images that are read from a request and kept at once.
_CHUNK = 16
_SOURCES = ("api", "page")

_FORM = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "Images, or zip archives of them.",
        },
        "patient": {"type": "string", "maxLength": 256},
        "taken_on": {"type": "string", "format": "date"},
        "again": {"type": "boolean", "default": False},
        "source": {"type": "string", "enum": list(_SOURCES), "default": "api"},
    },
}


@router.post(
    "/jobs",
    status_code=202,
    response_model=JobOut,
    responses=describe_problems(401, 403, 408, 413, 422, 429, 503),
    openapi_extra={
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}
    },
)
async def submit_many(
    request: Request, service: ServiceDependency, caller: CallerDependency
) -> dict[str, Any]:
    """Keep many images, and answer them in their turn.

    When this returns, every image that it names is on the disk and in the queue. A file that is
    not taken does not hinder the others: it is among the errors, with the reason.
    """
    most = service.settings.limits.files
    async with request.form(max_files=most, max_fields=20) as form:
        files = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
        if not files:
            raise Problem(422, "No file was sent: put images into the field `files`.")
        job = _Job(service, caller, form)
        await run_sync(job.take, files)
    return {
        "id": job.id if job.studies else None,
        "studies": job.studies,
        "errors": job.errors,
    }


@router.get(
    "/jobs/{job_id}",
    response_model=JobState,
    responses=describe_problems(401, 403, 404, 422, 429),
)
def show_job(service: ServiceDependency, job_id: str) -> dict[str, Any]:
    """Return how far the images of a job have come, new and known ones."""
    query = StudyQuery(job_id=job_id)
    with service.record.read() as session:
        total = count_studies(session, query)
        rows = list_studies(session, query, limit=total)
    if not rows:
        raise Problem(404, "There is no such job, or all of it was deleted.")
    done = sum(row.state == "done" for row in rows)
    return {"id": job_id, "total": total, "done": done, "studies": [*map(show_study, rows)]}


class _Job:
    """One request with many images."""

    def __init__(self, service: Service, caller: str, form: FormData) -> None:
        self.id = make_id()
        self.studies: list[dict[str, Any]] = []
        self.errors: list[dict[str, str]] = []
        self._service = service
        self._caller = caller
        self._patient = check_patient(_text(form, "patient"))
        self._taken_on: date | None = check_date(_text(form, "taken_on"))
        self._again = (_text(form, "again") or "").lower() in {"true", "1", "on", "yes"}
        self._source = _text(form, "source") or "api"
        if self._source not in _SOURCES:
            raise Problem(422, f"A source is {' or '.join(_SOURCES)}.")

    def take(self, files: list[UploadFile]) -> None:
        """Keep all images, some at a time."""
        for uploads in _take_some(self._open(files)):
            images = [upload for upload in uploads if upload.data is not None]
            self.errors += [
                {"name": u.name, "message": u.message} for u in uploads if u.data is None
            ]
            self._keep(images)

    def _open(self, files: list[UploadFile]) -> Iterator[Upload]:
        limits, count = self._service.settings.limits, 0
        for file in files:
            for upload in open_upload(file.file, file.filename, file.size or 0, limits):
                count += 1
                if count > limits.files:
                    yield Upload(upload.name, None, f"More than {limits.files:,} files were sent.")
                    return
                yield upload

    def _keep(self, images: list[Upload]) -> None:
        sent = [
            Sent(
                data=image.data or b"",
                name=image.name,
                asked_by=self._caller,
                source=self._source,
                patient=self._patient,
                taken_on=self._taken_on,
                job_id=self.id,
                again=self._again,
            )
            for image in images
        ]
        outcomes = self._service.intake.enqueue(sent) if sent else []
        for image, outcome in zip(images, outcomes, strict=True):
            if isinstance(outcome, Queued):
                self.studies.append(
                    {
                        "id": outcome.study_id,
                        "name": outcome.name,
                        "prediction": outcome.prediction_id,
                        "new": outcome.is_new,
                    }
                )
            else:
                self.errors.append({"name": image.name, "message": str(outcome)})


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value if isinstance(value, str) else None


def _take_some(uploads: Iterator[Upload]) -> Iterator[list[Upload]]:
    while some := list(islice(uploads, _CHUNK)):
        yield some

"""What the API says, in a form that OpenAPI describes."""

from __future__ import annotations

from datetime import date, datetime
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from pneumoscope.records import Prediction, Reading, Study, StudyRow, read_finding
from pneumoscope.workbench.problems import MEDIA_TYPE, describe_fields

_PREDICTION: JsonDict = {
    "schema": "pneumoscope.finding/1",
    "path": "IM-0115-0001.jpeg",
    "sha256": "4b4ca0e24c59963fb12e3477b4de82e1fd2f0305598cad59a9ac755a1f9527eb",
    "status": "ok",
    "decision": "NORMAL",
    "probability": 0.0509,
    "logit": -3.922,
    "operating_point": "referral_band",
    "threshold": 0.725,
    "rule_out": 0.476,
    "rule_in": 0.725,
    "warnings": [],
    "message": "NORMAL: probability 0.051, below 0.476 (rule_out).",
    "precision": "bf16",
    "bundle": "f372556501fc3513ba33923860e09712c63a8ab0078a7954e1123615c126cd79",
    "id": "bb96b49a-b806-47b1-a672-d3aa5723e2b6",
    "study": "41a6dcfc-4b7e-4a97-8751-9ff0d2ac9806",
    "state": "done",
}
_STUDY: JsonDict = {
    "id": "41a6dcfc-4b7e-4a97-8751-9ff0d2ac9806",
    "name": "IM-0115-0001.jpeg",
    "patient": "P-17",
    "taken_on": "2026-01-31",
    "received_at": "2026-01-31T09:26:53Z",
    "source": "api",
    "image": "4b4ca0e24c59963fb12e3477b4de82e1fd2f0305598cad59a9ac755a1f9527eb",
    "prediction": "bb96b49a-b806-47b1-a672-d3aa5723e2b6",
    "state": "done",
    "status": "ok",
    "decision": "NORMAL",
    "probability": 0.0509,
    "rule_out": 0.476,
    "rule_in": 0.725,
    "threshold": 0.725,
    "message": "NORMAL: probability 0.051, below 0.476 (rule_out).",
    "reading_count": 1,
}
_READING: JsonDict = {
    "id": "0b0b8f5e-0b8a-4c9e-8a5e-1f0f6d4b6f3a",
    "reader": "grace",
    "verdict": "correct",
    "label": "PNEUMONIA",
    "comment": "Left base.",
    "read_at": "2026-01-31T09:31:02Z",
}
_JOB: JsonDict = {
    "id": "7d3f3b1e-52f1-4b55-9a39-3f6f5a0f6a55",
    "studies": [
        {
            "id": "41a6dcfc-4b7e-4a97-8751-9ff0d2ac9806",
            "name": "IM-0115-0001.jpeg",
            "prediction": "bb96b49a-b806-47b1-a672-d3aa5723e2b6",
            "new": True,
        }
    ],
    "errors": [{"name": "films.zip", "message": "films.zip holds no files."}],
}
_MODEL: JsonDict = {
    "name": "paediatric-resnet50",
    "bundle": "f372556501fc3513ba33923860e09712c63a8ab0078a7954e1123615c126cd79",
    "created": "2026-11-25T16:48:59+00:00",
    "precision": "bf16",
    "operating_point": "referral_band",
    "threshold": 0.725,
    "rule_out": 0.476,
    "rule_in": 0.725,
    "operating_points": {
        "rule_out": {
            "threshold": 0.476,
            "target": "expected sensitivity of at least 97.5%",
            "sensitivity": 0.977,
            "specificity": 0.978,
        }
    },
    "metrics": {"trained": {"val": {"n": 524, "positives": 389, "auc": 0.998}}},
    "warnings": [],
    "notice": "Research use, not a diagnosis.",
}
#: What a problem of each status may say.
_DETAILS = {
    400: "The service is not called xray.example: name it with --allowed-host.",
    401: "Sign in, or send a token: `Authorization: Bearer pns_…`.",
    403: "A change needs the header X-CSRF-Token: reload the page.",
    404: "There is no such study, or it was deleted.",
    408: "The request did not arrive within 300 seconds.",
    409: "The image is filed under another patient.",
    413: "chest.dcm has more than 64 MiB, the most allowed.",
    422: "notes.txt is not an image: JPEG, PNG, TIFF, BMP, WebP and DICOM are read.",
    429: "Too many requests: ask again in 12 s.",
    503: "128 images are being answered, as many as may be: try again soon.",
}


def _show(example: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example}, populate_by_name=True)


class ProblemOut(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="One sentence for people.")


class PredictionOut(BaseModel):
    """The record of one answer, with where it lies. Research use, not a diagnosis."""

    model_config = _show(_PREDICTION)

    schema_: str = Field(alias="schema")
    path: str = Field(description="The file's name as sent.")
    sha256: str | None
    status: Literal["ok", "rejected", "error"] | None
    decision: Literal["NORMAL", "PNEUMONIA", "REFER", "REJECTED"] | None
    probability: float | None = Field(description="Calibrated, 0 to 1.")
    logit: float | None = Field(description="The raw score.")
    operating_point: str | None
    threshold: float | None
    rule_out: float | None
    rule_in: float | None
    warnings: list[str]
    message: str
    precision: str | None
    bundle: str | None = Field(description="sha256 of the bundle that answered.")
    id: str
    study: str
    state: Literal["queued", "running", "done"]


class StudyOut(BaseModel):
    """One image of one patient, with its latest answer."""

    model_config = _show(_STUDY)

    id: str
    name: str = Field(description="The file's name as sent.")
    patient: str | None = Field(description="The key by which the sender knows the patient.")
    taken_on: date | None
    received_at: datetime
    source: str
    image: str = Field(description="sha256 of the file.")
    prediction: str | None
    state: Literal["queued", "running", "done"]
    status: str | None
    decision: str | None
    probability: float | None
    rule_out: float | None
    rule_in: float | None
    threshold: float | None
    message: str | None
    reading_count: int


class ReadingOut(BaseModel):
    """What a person said about a study."""

    model_config = _show(_READING)

    id: str
    reader: str
    verdict: Literal["agree", "correct", "comment"]
    label: Literal["NORMAL", "PNEUMONIA"] | None
    comment: str
    read_at: datetime


class ReadingIn(BaseModel):
    """What a person says about a study; the model's answer stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"verdict": "correct", "label": "PNEUMONIA", "comment": "Left base."}
        },
    )

    verdict: Literal["agree", "correct", "comment"]
    label: Literal["NORMAL", "PNEUMONIA"] | None = None
    comment: str = Field(default="", max_length=4096)


class StudyDetail(StudyOut):
    """A study with all that was said about it."""

    model_config = _show({**_STUDY, "readings": [_READING], "priors": []})

    readings: list[ReadingOut]
    priors: list[StudyOut]


class StudyPage(BaseModel):
    """A part of the worklist."""

    model_config = _show({"total": 1, "offset": 0, "studies": [_STUDY]})

    total: int
    offset: int
    studies: list[StudyOut]


class JobStudy(BaseModel):
    """Where one image of a job lies."""

    id: str
    name: str
    prediction: str
    new: bool = Field(description="False where the image had an answer already.")


class UploadError(BaseModel):
    """A file that was not taken."""

    name: str
    message: str


class JobOut(BaseModel):
    """Images that were kept, and will be answered whatever happens to the service."""

    model_config = _show(_JOB)

    id: str
    studies: list[JobStudy]
    errors: list[UploadError]


class JobState(BaseModel):
    """How far the images have come that a job brought."""

    model_config = _show({"id": _JOB["id"], "total": 1, "done": 1, "studies": [_STUDY]})

    id: str
    total: int
    done: int
    studies: list[StudyOut]


class PointOut(BaseModel):
    """A threshold that the model was given for an aim, and what it reached when it was chosen."""

    threshold: float
    target: str
    sensitivity: float | None
    specificity: float | None


class ModelOut(BaseModel):
    """What answers, and how well it did on its calibration part."""

    model_config = _show(_MODEL)

    name: str
    bundle: str = Field(description="sha256 of the bundle.")
    created: str
    precision: str
    operating_point: str
    threshold: float
    rule_out: float | None
    rule_in: float | None
    operating_points: dict[str, PointOut]
    metrics: dict[str, Any]
    warnings: list[str]
    notice: str


class HealthOut(BaseModel):
    """That the process answers."""

    model_config = _show(
        {"status": "ok", "version": "0.1.0", "notice": "Research use, not a diagnosis."}
    )

    status: Literal["ok"]
    version: str
    notice: str


class ReadyOut(BaseModel):
    """That images are answered and kept."""

    model_config = _show({"status": "ready"})

    status: Literal["ready"]


def show_prediction(prediction: Prediction, study: Study) -> dict[str, Any]:
    """Return an answer as `PredictionOut`; what is not answered yet has no status."""
    record = read_finding(prediction, study).to_record()
    if prediction.status is None:
        record["status"] = None
    return record | {"id": prediction.id, "study": study.id, "state": str(prediction.state)}


def show_study(row: StudyRow) -> dict[str, Any]:
    """Return a study as `StudyOut`."""
    names = StudyOut.model_fields.keys() - {"image", "prediction", "reading_count"}
    shown = {name: getattr(row, name) for name in names}
    return shown | {
        "image": row.image_sha256,
        "prediction": row.prediction_id,
        "reading_count": row.readings,
    }


def show_reading(reading: Reading) -> dict[str, Any]:
    """Return a reading as `ReadingOut`."""
    return {name: getattr(reading, name) for name in ReadingOut.model_fields}


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors of a route for its description."""
    schema = ProblemOut.model_json_schema()
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {
                MEDIA_TYPE: {
                    "schema": schema,
                    "example": describe_fields(status, _DETAILS[status]),
                }
            },
        }
        for status in statuses
    }

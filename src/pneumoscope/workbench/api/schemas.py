"""What the API says, in a form that OpenAPI describes."""

from __future__ import annotations

from datetime import date, datetime
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from pneumoscope.records import Prediction, Reading, Study, StudyRow, read_finding
from pneumoscope.workbench.api import examples
from pneumoscope.workbench.problems import MEDIA_TYPE, describe_fields


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

    model_config = _show(examples.PREDICTION)

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

    model_config = _show(examples.STUDY)

    id: str
    name: str = Field(description="The file's name as sent.")
    patient: str | None = Field(description="The key by which the sender knows the patient.")
    taken_on: date | None
    received_at: datetime
    source: str
    image: str = Field(description="sha256 of the file.")
    prediction: str | None
    state: str = Field(description="queued, running or done.")
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

    model_config = _show(examples.READING)

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

    model_config = _show({**examples.STUDY, "readings": [examples.READING], "priors": []})

    readings: list[ReadingOut]
    priors: list[StudyOut]


class StudyPage(BaseModel):
    """A part of the worklist."""

    model_config = _show({"total": 1, "offset": 0, "studies": [examples.STUDY]})

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

    model_config = _show(examples.JOB)

    id: str | None
    """None where nothing was taken."""
    studies: list[JobStudy]
    errors: list[UploadError]


class JobState(BaseModel):
    """How far the images have come that a job brought."""

    model_config = _show(
        {"id": examples.JOB["id"], "total": 1, "done": 1, "studies": [examples.STUDY]}
    )

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

    model_config = _show(examples.MODEL)

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
                    "example": describe_fields(status, examples.DETAILS[status]),
                }
            },
        }
        for status in statuses
    }

"""What routes ask for: the service, and who asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from pneumoscope.records import Prediction, Study, StudyRow, find_study
from pneumoscope.workbench.problems import Problem
from pneumoscope.workbench.service import Service


def get_service(request: Request) -> Service:
    """Return the service that the application stands on."""
    service: Service = request.app.state.service
    return service


def get_caller(request: Request) -> str:
    """Return the name of who asks."""
    name: str = request.state.identity.name
    return name


ServiceDependency = Annotated[Service, Depends(get_service)]
CallerDependency = Annotated[str, Depends(get_caller)]


def get_study(session: Session, study_id: str) -> StudyRow:
    """Return a study as the worklist shows it.

    Raises
    ------
    Problem
        There is none of this id.
    """
    study = find_study(session, study_id)
    if study is None:
        raise Problem(404, "There is no such study; it may have been deleted.")
    return study


def get_prediction(session: Session, prediction_id: str) -> tuple[Prediction, Study]:
    """Return a prediction and its study.

    Raises
    ------
    Problem
        There is none of this id.
    """
    prediction = session.get(Prediction, prediction_id)
    if prediction is None:
        raise Problem(404, "There is no such prediction; it may have been deleted.")
    return prediction, session.get_one(Study, prediction.study_id)

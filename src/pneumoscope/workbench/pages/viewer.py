"""The viewer: one study with its image, its answer, and what people said about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pneumoscope.evaluation import SimilarScores, find_similar_scores
from pneumoscope.evaluation.similar_scores import NEIGHBOURS
from pneumoscope.records import (
    LABELS,
    Prediction,
    State,
    Study,
    StudyRow,
    find_neighbours,
    list_priors,
    list_readings,
)
from pneumoscope.runtime import CAPTION, Status, WarningCode
from pneumoscope.workbench.calibration_part import read_calibration_part
from pneumoscope.workbench.dependencies import get_service, get_study
from pneumoscope.workbench.pages.layout import render
from pneumoscope.workbench.pages.worklist import Selected

if TYPE_CHECKING:
    from pneumoscope.runtime import Predictor

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/studies/{study_id}")
def show_study(request: Request, study_id: str, selection: Selected) -> HTMLResponse:
    """Return the viewer of a study; the selection says among which it has neighbours."""
    service = get_service(request)
    predictor = service.predictor
    with service.record.read() as session:
        study = get_study(session, study_id)
        prediction = session.get(Prediction, study.prediction_id) if study.prediction_id else None
        previous, following = find_neighbours(session, study, selection.to_query())
        same = prediction is not None and prediction.bundle == predictor.bundle.sha256
        context: dict[str, Any] = {
            "study": study,
            "warnings": list(prediction.warnings) if prediction else [],
            "has_map": prediction is not None and prediction.activation_map is not None,
            "answered_at": prediction.answered_at if prediction else None,
            "priors": list_priors(session, study),
            "readings": list_readings(session, study_id),
            "earlier": _list_earlier(session, study),
            "sharers": _count_sharers(session, study),
        }
    # The calibration part says nothing about people of another population.
    comparable = same and WarningCode.OUTSIDE_POPULATION not in context["warnings"]
    return render(
        request,
        "viewer.html",
        **context,
        selection=selection,
        previous=previous,
        following=following,
        labels=LABELS,
        caption=CAPTION,
        points=predictor.operating_points if same else {},
        similar=_find_similar(predictor, study) if comparable else None,
        other_model=prediction is not None and not same,
    )


@router.get("/studies/{study_id}/readings")
def show_readings(request: Request, study_id: str) -> HTMLResponse:
    """Return the list of what people said about a study, to be put into its page."""
    with get_service(request).record.read() as session:
        get_study(session, study_id)
        readings = list_readings(session, study_id)
    return render(request, "readings.html", readings=readings)


def _list_earlier(session: Session, study: StudyRow) -> Sequence[Prediction]:
    """Return the answers that were given before the one shown, the latest first."""
    answers = select(Prediction).where(
        Prediction.study_id == study.id,
        Prediction.state == State.DONE,
        Prediction.id != study.prediction_id,
    )
    return session.scalars(answers.order_by(Prediction.answered_at.desc())).all()


def _count_sharers(session: Session, study: StudyRow) -> int:
    """Return how many other studies have the same image: it stays with them."""
    same = select(func.count()).where(Study.image_sha256 == study.image_sha256)
    return session.scalar(same.where(Study.id != study.id)) or 0


def _find_similar(predictor: Predictor, study: StudyRow) -> SimilarScores | None:
    if study.status != Status.OK or study.probability is None:
        return None
    part = read_calibration_part(predictor.bundle)
    # Of a small part fifty would reach over half the scores, and be like none of them.
    n = min(NEIGHBOURS, max(1, len(part.labels) // 5))
    return find_similar_scores(part.labels, part.probabilities, study.probability, n)

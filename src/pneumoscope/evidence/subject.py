"""What is judged: a bundle, or a model of others, with all that is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pneumoscope.bundle import Bundle, ImageHashes
from pneumoscope.evaluation import OperatingPoint
from pneumoscope.evidence.classifier import Classifier
from pneumoscope.evidence.foreign.model import ForeignModel
from pneumoscope.evidence.points import read_points
from pneumoscope.evidence.summary import CalibrationPart
from pneumoscope.runtime import Predictor, load

_UNKNOWN_TRAINING = (
    "Whether the model was trained on these images is not known: where it was, the numbers are too "
    "good."
)


@dataclass(frozen=True)
class Subject:
    """A model to be judged. What is not known about it is None, and never guessed."""

    name: str
    stage: str
    """What numbers and files call it."""
    classifier: Classifier
    operating_points: Mapping[str, OperatingPoint]
    """By name; `balanced` decides."""
    configuration: dict[str, Any]
    training_images: ImageHashes | None = None
    """What it was trained and chosen on."""
    predictor: Predictor | None = None
    """Has an input gate, a population check and heat-maps."""
    warnings: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    """What its makers say of it, for the report."""
    not_available: tuple[str, ...] = ()
    calibration_part: CalibrationPart | None = None
    """What set its calibration, where that is known."""
    thresholds: str = "Thresholds were chosen on validation images, never on test images."
    """Where they come from."""


def describe_bundle(
    path: Path | None, *, engine: str = "openvino", precision: str = "fp32"
) -> Subject:
    """Return a bundle (the one in the box where None) as what is judged.

    Raises
    ------
    BundleError
        The bundle is missing or damaged.
    """
    predictor = load(path, engine=engine, precision=precision)
    info = predictor.bundle.info
    points = read_points(predictor.operating_points)
    return Subject(
        name=info.name,
        stage=str(info.training.get("final", "model")),
        classifier=predictor,
        operating_points=points | {"balanced": points[info.decides]},
        configuration={"bundle": predictor.bundle.sha256, "engine": engine, "precision": precision},
        training_images=predictor.bundle.training_images(),
        predictor=predictor,
        calibration_part=_read_calibration_part(predictor.bundle),
        warnings=tuple(info.warnings),
    )


def _read_calibration_part(bundle: Bundle) -> CalibrationPart:
    """Return the scores and labels that set the bundle's thresholds."""
    arrays = bundle.reference()
    labels = arrays["labels"].astype(np.int64)
    name = f"the bundle's calibration part, {len(labels)} images"
    return CalibrationPart(labels, arrays["logits"].astype(np.float64), name)


def describe_foreign(model: ForeignModel) -> Subject:
    """Return a model of others as what is judged."""
    said = model.description
    facts = {
        "Read as": model.summarise(),
        "Trained on, as its description says": said.trained_on,
        "Licence": said.licence,
        "Citation": said.citation,
    }
    return Subject(
        name=said.name,
        stage="model",
        classifier=model,
        operating_points=read_points(model.operating_points),
        configuration={
            "model": model.path.name,
            "sha256": model.sha256,
            "engine": model.engine.kind,
            "description": said.model_dump(mode="json", exclude_none=True),
            "calibration": model.calibration.model_dump(),
        },
        warnings=(_UNKNOWN_TRAINING,),
        thresholds="The threshold is the one that the model's description states."
        if said.threshold is not None
        else "The threshold is 0.5, for the model's description states none.",
        facts=tuple(f"{name}: {text}" for name, text in facts.items() if text),
        not_available=(
            "Which images the model was trained on, so that none can be left out.",
            "Input gate and population check: every image is answered.",
            "Heat-maps: the model gives its answer and nothing else.",
        ),
    )

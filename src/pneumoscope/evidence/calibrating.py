"""Calibration and thresholds for a model of others, from a part of the data that is not judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl

from pneumoscope.bundle import Calibration
from pneumoscope.datasets import load_pixels, read_labels
from pneumoscope.errors import DataError, ModelError
from pneumoscope.evaluation import (
    RULE_IN_SPECIFICITY,
    RULE_OUT_SENSITIVITY,
    choose_operating_points,
)
from pneumoscope.evaluation.calibration import fit_calibration
from pneumoscope.evidence.foreign.model import ForeignModel
from pneumoscope.evidence.points import state_points
from pneumoscope.evidence.sample_size import count_cases, list_shortages
from pneumoscope.evidence.subject import Subject, describe_foreign

#: Parts of the data that may set thresholds; test is for judging alone.
PARTS = ("val", "train")
_BATCH = 64
#: What `rule_out` and `rule_in` aim at.
_TARGETS = {"PNEUMONIA": RULE_OUT_SENSITIVITY, "NORMAL": RULE_IN_SPECIFICITY}


def calibrate_subject(
    subject: Subject,
    frame: pl.DataFrame,
    judged_frame: pl.DataFrame,
    *,
    part: str,
    judged: str,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Subject, list[str]]:
    """Return the model with calibration and thresholds of a part, and what is to be said of it.

    Whoever is judged is left out of the part, with copies and all images of the same patient.

    Parameters
    ----------
    frame, judged_frame
        The manifest, and those of its rows that are judged.
    part, judged
        The splits: the part's, and that of what is judged.

    Raises
    ------
    DataError
        The part is judged itself, is empty, or has one class only.
    ModelError
        The model brings its own calibration.
    """
    model = subject.classifier
    if not isinstance(model, ForeignModel):
        raise ModelError(
            "--calibrate-on is for models of others: a bundle brings calibration and thresholds."
        )
    if part not in PARTS:
        raise DataError(f"--calibrate-on takes {' or '.join(PARTS)}, found {part!r}.")
    if judged in {part, "all"}:
        raise DataError(
            f"--calibrate-on {part} while {judged} is judged would choose thresholds on images "
            "that they are judged by: judge another part, such as with --split test."
        )
    whole = frame.filter(pl.col("split") == part)
    rows = whole.filter(~pl.col("group").is_in(judged_frame["group"].unique().to_list()))
    labels = read_labels(rows)
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise DataError(
            f"--calibrate-on {part} needs images of both classes, found {len(labels) - positives} "
            f"NORMAL and {positives} PNEUMONIA in that split of the data, of patients who are not "
            "judged: `pneumoscope data reorganize` makes splits."
        )
    tuned = _fit(model, rows, labels, progress)
    notes = [
        f"Calibration and thresholds were fitted on {rows.height} images of {part} "
        f"({positives} with pneumonia); none of their patients is judged."
    ]
    if whole.height > rows.height:
        notes.append(
            f"{whole.height - rows.height} images of {part} were left out of that, for their "
            "patients are judged."
        )
    said = f"Thresholds were chosen on images of {part}, none of whose patients is judged here."
    tuned_subject = describe_foreign(tuned)
    warnings = (*tuned_subject.warnings, *list_shortages(count_cases(rows), _TARGETS))
    return dataclasses.replace(tuned_subject, thresholds=said, warnings=warnings), notes


def _fit(
    model: ForeignModel,
    rows: pl.DataFrame,
    labels: np.ndarray[tuple[int], np.dtype[np.int64]],
    progress: Callable[[int, int], None] | None,
) -> ForeignModel:
    pixels = load_pixels(rows, model.preprocessing)
    parts = []
    for start in range(0, len(pixels), _BATCH):
        parts.append(model.predict_pixels(pixels[start : start + _BATCH]).logits)
        if progress:
            progress(min(start + _BATCH, len(pixels)), len(pixels))
    logits = np.concatenate(parts)
    fitted = fit_calibration(labels, logits)
    calibration = Calibration(temperature=fitted.temperature, bias=fitted.bias)
    points = state_points(choose_operating_points(labels, calibration.apply(logits)))
    return model.recalibrate(calibration, points)

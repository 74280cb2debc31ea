"""What a model answers to the images that are judged."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.datasets import read_radiograph
from pneumoscope.evidence.subject import Subject
from pneumoscope.runtime import Objection, Outputs

Progress = Callable[[int, int], None]
_BATCH = 64
#: The share of images that are stopped from which on a reader must know first.
_MANY = 0.1


def predict_images(
    subject: Subject,
    frame: pl.DataFrame,
    pixels: NDArray[np.uint8],
    split: str,
    progress: Progress | None,
) -> pl.DataFrame:
    """Answer every image, also those that a gate would reject, and note its objections.

    `pixels`, uint8 [N, *shape], are the images of `frame` as the model takes them.
    """
    paths = frame["path"].to_list()
    logits: list[NDArray[np.floating[Any]]] = []
    objections: list[Objection] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, frame.height, _BATCH):
            rows = slice(start, start + _BATCH)
            answers = subject.classifier.predict_pixels(pixels[rows])
            logits.append(answers.logits)
            if subject.predictor is not None:
                assert isinstance(answers, Outputs)  # the predictor is the classifier
                radiographs = pool.map(read_radiograph, paths[rows])
                examine = subject.predictor.examine
                objections += map(examine, radiographs, pixels[rows], answers.features)
            if progress:
                progress(min(start + _BATCH, frame.height), frame.height)
    values = np.concatenate(logits)
    table = frame.drop("phash", "group").with_columns(
        pl.lit(split).alias("split"),
        pl.lit(subject.stage).alias("stage"),
        pl.Series("logit", values),
        pl.Series("probability", subject.classifier.calibrate(values)),
    )
    if subject.predictor is None:
        return table
    return table.with_columns(
        pl.Series("rejection", [found.reason for found in objections], dtype=pl.String),
        pl.Series("outside_population", [found.outside_population for found in objections]),
    )


def warn_of_objections(predictions: pl.DataFrame) -> list[str]:
    """Say so where the numbers are mostly of answers that nobody would get."""
    if "rejection" not in predictions.columns:
        return []
    stopped = predictions["rejection"].is_not_null() | predictions["outside_population"]
    if stopped.sum() < _MANY * len(stopped):
        return []
    rejected = predictions["rejection"].count()
    return [
        f"Of these {len(stopped)} images `predict` would reject {rejected}, and refer "
        f"{int(stopped.sum()) - rejected} as another population. "
        "Sensitivity, specificity and all below are of the network alone, at one threshold; how "
        "the model would decide is told with the operating points."
    ]


def describe_objections(predictions: pl.DataFrame) -> list[str]:
    """Say what `predict` would not answer, or only with a warning; here it is judged all the same.

    A test that leaves out what a gate dislikes is another test.
    """
    if "rejection" not in predictions.columns:
        return []
    n = predictions.height
    notes = []
    rejected = predictions["rejection"].drop_nulls()
    if len(rejected):
        notes.append(
            f"The input gate would reject {len(rejected)} of these {n} images, such as for: "
            f"{rejected.mode().sort()[0]}"
        )
    outside = int(predictions["outside_population"].sum())
    if outside:
        notes.append(
            f"{outside} of these {n} images are, by looks or by age, not of the people that the "
            "model was made for: `predict` would refer them."
        )
    return notes

"""`evaluate`: a model and labelled images become numbers, figures and a report."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope import __version__
from pneumoscope._files import rebuild_folder
from pneumoscope.datasets import (
    SPLITS,
    CollectionOptions,
    Skipped,
    build_manifest,
    load_pixels,
    open_collection,
    read_labels,
)
from pneumoscope.errors import DataError, ModelError
from pneumoscope.evidence.answers import describe_objections, predict_images, warn_of_objections
from pneumoscope.evidence.assessment import extend_evaluation, write_evaluation
from pneumoscope.evidence.attention.measurement import (
    Attention,
    AttentionOptions,
    measure_attention,
)
from pneumoscope.evidence.calibrating import calibrate_subject
from pneumoscope.evidence.characteristics import fingerprint_images, tabulate_characteristics
from pneumoscope.evidence.comparison import compare_with_earlier, match_earlier, read_earlier
from pneumoscope.evidence.external import find_shared, read_internal
from pneumoscope.evidence.folder import check_model, check_out
from pneumoscope.evidence.quality import add_quality
from pneumoscope.evidence.questions import Questions
from pneumoscope.evidence.report.context import EvaluationContext
from pneumoscope.evidence.robustness.measurement import RobustnessPlan, measure_robustness
from pneumoscope.evidence.robustness.result import RobustnessResult
from pneumoscope.evidence.selection import (
    choose_split,
    count_labels,
    join_columns,
    list_warnings,
    mark_seen,
    warn_of_straddling,
)
from pneumoscope.evidence.subject import Subject
from pneumoscope.evidence.summary import check_subgroups
from pneumoscope.evidence.suspicion import suspect_answers

Progress = Callable[[int, int], None]
_OURS = {
    "metrics.json", "predictions.csv", "curve.csv", "decision_curve.csv", "comparison.json",
    "robustness.json", "attention.json", "figures", "report.html", "report.json", "report.pdf",
}  # fmt: skip


@dataclass(frozen=True)
class EvaluationResult:
    """Where the evaluation lies, and what it says."""

    out: Path
    stage: str
    split: str
    metrics: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    excluded: tuple[Skipped, ...]
    comparison: dict[str, Any] | None = None
    """With the earlier evaluation, where one was asked about."""


def evaluate_subject(
    subject: Subject,
    data: Path,
    out: Path,
    *,
    options: CollectionOptions | None = None,
    split: str | None = None,
    calibrate_on: str | None = None,
    questions: Questions | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Judge a model, as it decides, on labelled images.

    Parameters
    ----------
    split
        `train`, `val`, `test` or `all`; by default test where the data has one, else all.
    calibrate_on
        `val` or `train`: calibration and thresholds of a model of others are fitted on that part
        of the data, none of whose patients is judged. As its description says where None; a bundle
        brings its own.
    questions
        What is asked beyond the usual numbers.

    Raises
    ------
    DataError
        The split is empty, or has one class only; a subgroup is unknown; the earlier evaluation
        is not one of the same images, the internal one not of this model; `out` holds other things,
        or the evaluation of another model. One of the same model is replaced.
    ModelError
        `attention` is asked of a model without heat-maps; a model of others answers what its
        description rules out.
    """
    check_out(out, _OURS)
    check_model(out, subject.configuration)
    questions = questions or Questions()
    for name, folder in (("--compare", questions.earlier), ("--internal", questions.internal)):
        if folder and out.resolve() in {folder.resolve(), folder.resolve().parent}:
            raise DataError(
                f"{name} names {folder}, which --out would replace: choose another --out."
            )
    if questions.attention and subject.predictor is None:
        raise ModelError(
            f"{subject.name} gives no heat-maps, which --attention asks about: it takes a bundle."
        )
    earlier = read_earlier(questions.earlier) if questions.earlier else None
    home = None
    if questions.internal:
        home = read_internal(questions.internal, subject.operating_points["balanced"].threshold)
    collection = open_collection(data, options)
    manifest = build_manifest(collection, progress=progress)
    whole = mark_seen(manifest.frame, subject.training_images)
    whole = join_columns(whole, collection, questions.subgroups)
    frame, split, note = choose_split(whole, collection.layout, split)
    pixels = load_pixels(frame, subject.classifier.preprocessing)
    frame = add_quality(frame, pixels)
    check_subgroups(frame, questions.subgroups)
    if earlier is not None:
        match_earlier(frame, earlier)  # before the long work
    notes = [*collection.notes, *manifest.notes, note]
    if calibrate_on is not None:
        subject, said = calibrate_subject(
            subject, whole, frame, part=calibrate_on, judged=split, progress=progress
        )
        notes += said
    predictions = predict_images(subject, frame, pixels, split, progress)
    threshold = subject.operating_points["balanced"].threshold
    suspicions = suspect_answers(predictions, threshold)
    shared = find_shared(home, frame["sha256"]) if home else None
    warnings = [
        *([shared] if shared else []),
        *subject.warnings,
        *list_warnings(frame),
        *suspicions,
        *warn_of_objections(predictions),
        *(warn_of_straddling(whole) if split in SPLITS else []),
    ]
    notes += describe_objections(predictions)
    comparison = None
    if earlier is not None:
        comparison = compare_with_earlier(predictions, threshold, earlier)
    excluded = (*collection.skipped, *manifest.excluded)
    info = subject.predictor.bundle.info if subject.predictor else None
    context = EvaluationContext(
        title=f"Evaluation of {subject.name}",
        data_summary={
            "layout": collection.layout.value,
            "counts": {split: count_labels(frame)},
            "sources": frame["source"].unique().sort().to_list(),
            "excluded": [dataclasses.asdict(entry) for entry in excluded],
            "characteristics": tabulate_characteristics(whole),
            "fingerprint": fingerprint_images(frame["sha256"]),
        },
        notes=notes,
        warnings=warnings,
        configuration=subject.configuration,
        environment={"pneumoscope": __version__, "python": platform.python_version()},
        model_facts=list(subject.facts),
        not_available=list(subject.not_available),
        thresholds=subject.thresholds,
        comparison=comparison,
        internal=home,
        card=info.card if info else None,
        preprocessing=subject.classifier.preprocessing.model_dump(mode="json"),
        training=info.training if info else {},
    )
    points = {subject.stage: subject.operating_points}
    # Numbers, figures and report of two evaluations must never lie side by side.
    with rebuild_folder(out, _OURS, last="metrics.json") as staging:
        written = write_evaluation(
            staging,
            predictions,
            points,
            subject.stage,
            context,
            explainer=subject.predictor,
            questions=questions,
            calibration=subject.calibration_part,
        )
    if questions.robustness:  # these take long: the evaluation stands, whatever becomes of them
        shifted = _shift(subject, frame, pixels, questions.robustness)
        written = extend_evaluation(out, written, robustness=shifted)
    if questions.attention:
        looked = _look(subject, frame, pixels, out, questions.attention, progress)
        written = extend_evaluation(out, written, attention=looked)
    return EvaluationResult(
        out,
        subject.stage,
        split,
        written.metrics,
        tuple(notes),
        tuple(warnings),
        excluded,
        comparison,
    )


def _look(
    subject: Subject,
    frame: pl.DataFrame,
    pixels: NDArray[np.uint8],
    out: Path,
    options: AttentionOptions,
    progress: Progress | None,
) -> Attention:
    """Ask where the model looks."""
    assert subject.predictor is not None  # asked before the long work
    return measure_attention(
        subject.predictor,
        frame,
        pixels,
        out,
        options,
        engine=str(subject.configuration["engine"]),
        progress=progress,
    )


def _shift(
    subject: Subject, frame: pl.DataFrame, pixels: NDArray[np.uint8], plan: RobustnessPlan
) -> RobustnessResult:
    """Judge the same images under shifts."""
    return measure_robustness(
        subject.classifier,
        pixels,
        read_labels(frame),
        frame["patient"].to_list(),
        plan=plan,
    )

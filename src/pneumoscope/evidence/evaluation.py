"""`evaluate`: a model and labelled images become numbers, figures and a report."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope import __version__
from pneumoscope.bundle import ImageHashes
from pneumoscope.datasets import (
    SPLITS,
    Collection,
    CollectionOptions,
    Layout,
    Skipped,
    build_manifest,
    count_images,
    load_pixels,
    open_collection,
    read_columns,
    read_radiograph,
)
from pneumoscope.errors import DataError, ModelError
from pneumoscope.evidence.assessment import write_evaluation
from pneumoscope.evidence.attention import Attention, AttentionOptions, measure_attention
from pneumoscope.evidence.calibrating import calibrate_subject
from pneumoscope.evidence.characteristics import fingerprint_images, tabulate_characteristics
from pneumoscope.evidence.comparison import compare_with_earlier, match_earlier, read_earlier
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.external import read_internal
from pneumoscope.evidence.foreign import ForeignModel
from pneumoscope.evidence.questions import Questions
from pneumoscope.evidence.robustness import RobustnessPlan, measure_robustness
from pneumoscope.evidence.robustness_result import RobustnessResult
from pneumoscope.evidence.robustness_writing import remove_robustness
from pneumoscope.evidence.subject import Subject, describe_bundle, describe_foreign
from pneumoscope.evidence.summary import check_subgroups
from pneumoscope.evidence.suspicion import suspect_answers
from pneumoscope.runtime import Objection, Outputs

Progress = Callable[[int, int], None]
_OURS = {
    "metrics.json", "predictions.csv", "curve.csv", "decision_curve.csv", "comparison.json",
    "robustness.json", "attention.json", "figures", "report.html", "report.json", "report.pdf",
}  # fmt: skip
_BATCH = 64


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


def evaluate_bundle(
    bundle: Path | None,
    data: Path,
    out: Path,
    *,
    options: CollectionOptions | None = None,
    split: str | None = None,
    engine: str = "openvino",
    precision: str = "fp32",
    questions: Questions | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Judge a bundle, as it decides, on labelled images; see `evaluate_subject`.

    Raises
    ------
    BundleError
        The bundle is missing or damaged.
    """
    check_out(out, _OURS)
    subject = describe_bundle(bundle, engine=engine, precision=precision)
    return evaluate_subject(
        subject, data, out, options=options, split=split, questions=questions, progress=progress
    )


def evaluate_model(
    model: ForeignModel,
    data: Path,
    out: Path,
    *,
    options: CollectionOptions | None = None,
    split: str | None = None,
    calibrate_on: str | None = None,
    questions: Questions | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Judge a model of others as a bundle is judged; see `evaluate_subject`.

    Parameters
    ----------
    calibrate_on
        `val` or `train`: calibration and thresholds are fitted on that part of the data, none of
        whose patients is judged. As the model's description says where None.

    Raises
    ------
    ModelError
        The model answers what its description rules out.
    """
    return evaluate_subject(
        describe_foreign(model),
        data,
        out,
        options=options,
        split=split,
        calibrate_on=calibrate_on,
        questions=questions,
        progress=progress,
    )


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
        As in `evaluate_model`; a bundle brings its own calibration and thresholds.
    questions
        What is asked beyond the usual numbers.

    Raises
    ------
    DataError
        The split is empty, or has one class only; a subgroup is unknown; the earlier evaluation
        is not one of the same images, the internal one not of this model; `out` holds other things.
    ModelError
        `attention` is asked of a model without heat-maps.
    """
    check_out(out, _OURS)
    questions = questions or Questions()
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
    whole = _join_columns(_mark_seen(manifest.frame, subject), collection, questions.subgroups)
    frame, split, note = _choose_split(whole, collection.layout, split)
    check_subgroups(frame, questions.subgroups)
    if earlier is not None:
        match_earlier(frame, earlier)  # before the long work
    notes = [*collection.notes, *manifest.notes, note]
    if calibrate_on is not None:
        subject, said = calibrate_subject(
            subject, whole, frame, part=calibrate_on, judged=split, progress=progress
        )
        notes += said
    predictions = _predict(subject, frame, split, progress)
    threshold = subject.operating_points["balanced"].threshold
    suspicions = suspect_answers(predictions, threshold)
    warnings = [*subject.warnings, *_list_warnings(frame), *suspicions]
    notes += _describe_objections(predictions)
    comparison = None
    if earlier is not None:
        comparison = compare_with_earlier(predictions, threshold, earlier)
    excluded = (*collection.skipped, *manifest.excluded)
    info = subject.predictor.bundle.info if subject.predictor else None
    context = EvaluationContext(
        title=f"Evaluation of {subject.name}",
        data_summary={
            "layout": collection.layout.value,
            "counts": {split: _count_labels(frame)},
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
    remove_robustness(out)
    for name in ("attention.json", "report.pdf"):  # of an earlier evaluation
        (out / name).unlink(missing_ok=True)
    metrics = write_evaluation(
        out,
        predictions,
        points,
        subject.stage,
        context,
        explainer=subject.predictor,
        questions=questions,
        calibration=subject.calibration_part,
        measure_robustness=_shift(subject, frame, questions.robustness)
        if questions.robustness
        else None,
        measure_attention=_look(subject, frame, out, questions.attention, progress)
        if questions.attention
        else None,
    )
    return EvaluationResult(
        out,
        subject.stage,
        split,
        metrics,
        tuple(notes),
        tuple(warnings),
        excluded,
        comparison,
    )


def check_out(out: Path, ours: Container[str]) -> None:
    """Raise `DataError` where a folder for results is a file, or holds others than `ours`."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: --out takes a folder.")
    foreign = [p.name for p in out.iterdir() if p.name not in ours] if out.exists() else []
    if foreign:
        raise DataError(
            f"{out} holds other things, such as {foreign[0]}: choose a new folder for --out."
        )


def _mark_seen(frame: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    """Add `seen`, where it is known which images the model was trained on."""
    if subject.training_images is None:
        return frame
    images = ImageHashes(tuple(frame["sha256"]), tuple(frame["phash"]))
    seen = pl.Series("seen", subject.training_images.find(images))
    # A patient, or a copy, of whom the model saw one image is no stranger to it.
    return frame.with_columns(seen).with_columns(pl.col("seen").any().over("group"))


def _join_columns(
    frame: pl.DataFrame, collection: Collection, wanted: Sequence[str]
) -> pl.DataFrame:
    """Add columns of the manifest that a person brought, where the frame has none of that name."""
    missing = [name for name in wanted if name not in frame.columns]
    if not missing or collection.layout is not Layout.MANIFEST:
        return frame
    return frame.join(read_columns(collection.root, missing), on="path", how="left")


def _choose_split(
    frame: pl.DataFrame, layout: Layout, wanted: str | None
) -> tuple[pl.DataFrame, str, str]:
    present = [name for name in SPLITS if name in frame["split"].drop_nulls().to_list()]
    if wanted not in {None, "all", *SPLITS}:
        raise DataError(f"--split takes train, val, test or all, found {wanted!r}.")
    split = wanted or ("test" if "test" in present else "all")
    rows = frame if split == "all" else frame.filter(pl.col("split") == split)
    if rows["label"].n_unique() < 2:
        counts = _count_labels(rows)
        raise DataError(
            f"The split {split!r} has {counts['NORMAL']} NORMAL and "
            f"{counts['PNEUMONIA']} PNEUMONIA images, both are needed; the data has "
            f"{', '.join(present) or 'no splits'}: choose with --split, or --split all."
        )
    said = "all images" if split == "all" else f"the split {split!r}"
    return rows, split, f"Judged on {said}: {rows.height} of {frame.height} images."


def _describe_objections(predictions: pl.DataFrame) -> list[str]:
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
            f"{outside} of these {n} images look unlike the population that the model was trained "
            "on: `predict` would refer them."
        )
    return notes


def _list_warnings(frame: pl.DataFrame) -> list[str]:
    warnings = []
    if "phantom" in frame["source"].to_list():
        warnings.append("These images are synthetic phantoms: for demonstrations and tests only.")
    seen = int(frame["seen"].sum()) if "seen" in frame.columns else 0
    if seen:
        warnings.append(
            f"{seen} of {frame.height} images ({seen / frame.height:.0%}) were among those that "
            "the bundle was trained or chosen on, or are of the same patients: the numbers are too "
            "good."
        )
    return warnings


def _predict(
    subject: Subject, frame: pl.DataFrame, split: str, progress: Progress | None
) -> pl.DataFrame:
    """Answer every image, also those that a gate would reject, and note its objections."""
    pixels = load_pixels(frame, subject.classifier.preprocessing)
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


def _look(
    subject: Subject,
    frame: pl.DataFrame,
    out: Path,
    options: AttentionOptions,
    progress: Progress | None,
) -> Callable[[], Attention]:
    """Return what will ask where the model looks, when it is called."""
    assert subject.predictor is not None  # asked before the long work
    return partial(
        measure_attention,
        subject.predictor,
        frame,
        load_pixels(frame, subject.predictor.preprocessing),
        out,
        options,
        engine=str(subject.configuration["engine"]),
        progress=progress,
    )


def _shift(
    subject: Subject, frame: pl.DataFrame, plan: RobustnessPlan
) -> Callable[[], RobustnessResult]:
    """Return what will judge the same images under shifts, when it is called."""
    return partial(
        measure_robustness,
        subject.classifier,
        load_pixels(frame, subject.classifier.preprocessing),
        (frame["label"] == "PNEUMONIA").to_numpy().astype(np.int64),
        frame["patient"].to_list(),
        plan=plan,
    )


def _count_labels(frame: pl.DataFrame) -> dict[str, int]:
    counts = count_images(frame.with_columns(pl.lit("test").alias("split")))
    return counts["test"]

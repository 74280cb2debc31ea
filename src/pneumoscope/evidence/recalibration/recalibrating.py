"""Recalibrating a bundle for a place: calibration and thresholds from a small labelled sample.

The weights stay as they are, and with them the order in which images are ranked, the input gate and
the population check.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.bundle import (
    CARD,
    GRAPH,
    REFERENCE,
    TRAINING_IMAGES,
    Bundle,
    Calibration,
    ImageHashes,
    OperatingPointInfo,
    PrecisionInfo,
    RecalibrationInfo,
    SampleInfo,
    check_free,
    pack_arrays,
    pack_images,
    read_bundle,
    write_files,
)
from pneumoscope.datasets import (
    CollectionOptions,
    Skipped,
    build_manifest,
    load_pixels,
    open_collection,
    read_labels,
    read_radiograph,
)
from pneumoscope.errors import DataError, PneumoscopeError
from pneumoscope.evaluation import FittedCalibration, update_calibration
from pneumoscope.evidence.characteristics import fingerprint_images
from pneumoscope.evidence.equipment.precisions import (
    answer_squares,
    choose_points,
    compare_precision,
)
from pneumoscope.evidence.progress import give_title
from pneumoscope.evidence.recalibration.crossfitting import Comparison, compare_by_folds
from pneumoscope.evidence.sample_size import check_cases, count_cases, list_shortages
from pneumoscope.runtime import Outputs, Predictor, replace_inputs

Progress = Callable[[str, int, int], None]
Squares = NDArray[np.uint8]
Fitted = tuple[Calibration, dict[str, OperatingPointInfo]]
_METHOD = (
    "logistic recalibration of the old log-odds, shrunk towards the old calibration (normal priors "
    "on the log of the slope and on the shift); thresholds for what they are expected to reach"
)


@dataclass(frozen=True)
class RecalibrationPlan:
    """From what, and towards what, a bundle is recalibrated."""

    data: Path
    """Labelled images of the place, none of which the bundle has seen."""
    options: CollectionOptions = field(default_factory=CollectionOptions)
    split: str | None = None
    """`train`, `val`, `test` or `all`; by default val where the data has one, else all."""
    rule_out_sensitivity: float = 0.975
    rule_in_specificity: float = 0.98
    engine: str = "openvino"


@dataclass(frozen=True)
class Recalibrated:
    """The new bundle, and what has to be said about it."""

    bundle: Bundle
    record: RecalibrationInfo
    comparison: Comparison
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    excluded: tuple[Skipped, ...]


@dataclass(frozen=True)
class _Sample:
    """Labelled images and what fp32 makes of them."""

    frame: pl.DataFrame
    labels: NDArray[np.int64]
    squares: Squares
    outputs: Outputs


def recalibrate_bundle(
    source: Path, out: Path, plan: RecalibrationPlan, progress: Progress
) -> Recalibrated:
    """Write a bundle of the same weights, recalibrated, to `out`.

    Raises
    ------
    DataError
        The sample is too small, or holds images that the bundle has seen.
    BundleError
        The bundle is damaged, or `out` cannot be written.
    """
    if out.resolve() == source.resolve():
        raise PneumoscopeError(
            f"{out} is the bundle itself: the one before is kept, name another folder with --out."
        )
    check_free(out)
    bundle = read_bundle(source)
    collection = open_collection(plan.data, plan.options)
    manifest = build_manifest(collection, progress=give_title(progress, "Reading images"))
    frame, note = _choose_part(manifest.frame, plan.split)
    _check_unseen(bundle, manifest.frame, frame)
    labels = read_labels(frame)
    cases = count_cases(frame)
    check_cases(cases)
    predictor = Predictor(bundle, engine=plan.engine)
    squares = load_pixels(frame, predictor.preprocessing)
    outputs = answer_squares(predictor, squares, give_title(progress, "Answering the sample"))
    sample = _Sample(frame, labels, squares, outputs)

    previous = bundle.info.calibration, bundle.info.operating_points
    comparison = compare_by_folds(
        labels,
        outputs.logits,
        frame["group"].to_list(),
        previous,
        lambda labels, logits: _fit(labels, logits, previous[0], plan),
    )
    calibration, points = _fit(labels, outputs.logits, previous[0], plan)
    precisions, dropped = _fit_precisions(bundle, sample, (calibration, points), plan, progress)
    targets = {"PNEUMONIA": plan.rule_out_sensitivity, "NORMAL": plan.rule_in_specificity}
    described = _describe_sample(predictor, sample, progress)
    warnings = [*list_shortages(cases, targets), *_list_warnings(comparison, described)]
    record = RecalibrationInfo(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        method=_METHOD,
        sample=described,
        bundle=bundle.sha256,
        calibration=bundle.info.calibration,
        operating_points=bundle.info.operating_points,
        cross_fitted=comparison.to_dict(),
        notes=[*warnings, *dropped],
    )
    info = bundle.info.model_copy(
        update={
            "calibration": calibration,
            "operating_points": points,
            "precisions": precisions,
            "recalibrations": [*bundle.info.recalibrations, record],
        }
    )
    made = write_files(out, info, _list_files(bundle, sample, precisions))
    notes = (*collection.notes, *manifest.notes, note, *dropped)
    excluded = (*collection.skipped, *manifest.excluded)
    return Recalibrated(made, record, comparison, notes, tuple(warnings), excluded)


def _choose_part(frame: pl.DataFrame, wanted: str | None) -> tuple[pl.DataFrame, str]:
    present = set(frame["split"].drop_nulls())
    split = wanted or ("val" if "val" in present else "all")
    if split != "all" and split not in present:
        raise DataError(
            f"The data has no split {split!r}, it has {', '.join(sorted(present)) or 'none'}: "
            "choose another --split, or --split all."
        )
    rows = frame if split == "all" else frame.filter(pl.col("split") == split)
    said = "all images" if split == "all" else f"the split {split!r}"
    return rows, f"Recalibrated on {said}: {rows.height} of {frame.height} images."


def _check_unseen(bundle: Bundle, whole: pl.DataFrame, chosen: pl.DataFrame) -> None:
    """Refuse images that the bundle has seen, or of patients of whom it has seen one."""
    images = ImageHashes(tuple(whole["sha256"]), tuple(whole["phash"]))
    found = pl.Series(bundle.training_images().find(images))
    known = whole.filter(found)["group"].unique()
    seen = chosen.filter(pl.col("group").is_in(known.implode()))
    if seen.height:
        raise DataError(
            f"{seen.height} of the {chosen.height} images trained the bundle or set its "
            f"thresholds, or are of the same patients, such as {seen['path'][0]}: scores of these "
            "are too good to recalibrate on; leave them out, or, where an earlier recalibration "
            "used them, start from the bundle before it."
        )


def _fit(
    labels: NDArray[np.int64],
    logits: NDArray[np.float32],
    previous: Calibration,
    plan: RecalibrationPlan,
) -> Fitted:
    """Return calibration and thresholds of one precision, from its own logits."""
    before = FittedCalibration(previous.temperature, previous.bias)
    fitted = update_calibration(labels, logits.astype(np.float64), before)
    calibration = Calibration(temperature=fitted.temperature, bias=fitted.bias)
    return calibration, choose_points(
        labels, calibration.apply(logits), plan.rule_out_sensitivity, plan.rule_in_specificity
    )


def _fit_precisions(
    bundle: Bundle, sample: _Sample, fp32: Fitted, plan: RecalibrationPlan, progress: Progress
) -> tuple[dict[str, PrecisionInfo], list[str]]:
    """Return the precisions that still agree with fp32, and why the others were dropped."""
    kept: dict[str, PrecisionInfo] = {}
    dropped = []
    reference = fp32[0].apply(sample.outputs.logits), fp32[1]
    for name, old in bundle.info.precisions.items():
        if not old.accepted:
            continue
        try:
            runner = Predictor(bundle, engine=plan.engine, precision=name)
        except PneumoscopeError as error:
            dropped.append(f"{name} was dropped, since it could not be judged here: {error}")
            continue
        title = give_title(progress, f"Comparing {name}")
        logits = answer_squares(runner, sample.squares, title).logits
        own, points = _fit(sample.labels, logits, old.calibration, plan)
        found = compare_precision(
            sample.labels, reference, (own.apply(logits), points), own, old.graph
        )
        if found.accepted:
            kept[name] = found
        else:
            dropped.append(
                f"{name} was dropped: against fp32 it changed {found.decisions_changed:.1%} of "
                f"the {found.images} decisions and the AUC by {found.auc_change:+z.4f}, too much."
            )
    return kept, dropped


def _describe_sample(predictor: Predictor, sample: _Sample, progress: Progress) -> SampleInfo:
    """Return what the record says of the sample, with what `predict` would object to."""
    frame, n = sample.frame, sample.frame.height
    rejected = outside = 0
    with ThreadPoolExecutor() as pool:
        radiographs = pool.map(read_radiograph, frame["path"].to_list())
        for row, radiograph in enumerate(radiographs):
            features = sample.outputs.features[row]
            objection = predictor.examine(radiograph, sample.squares[row], features)
            rejected += objection.reason is not None
            outside += objection.outside_population
            progress("Asking gate and population check", row + 1, n)
    known = frame["patient"].null_count() == 0
    return SampleInfo(
        counts={label: int((frame["label"] == label).sum()) for label in ("NORMAL", "PNEUMONIA")},
        patients=frame["patient"].n_unique() if known else None,
        sources=frame["source"].unique().sort().to_list(),
        fingerprint=fingerprint_images(frame["sha256"]),
        rejected=rejected,
        outside_population=outside,
    )


def _list_warnings(comparison: Comparison, sample: SampleInfo) -> list[str]:
    """Return what recalibration cannot mend."""
    warnings = []
    n, auc = sum(sample.counts.values()), comparison.auc
    if auc.interval is not None and auc.interval[0] <= 0.5:
        warnings.append(
            f"On this sample the scores do not tell sick from well (AUC {auc.value:.3f}, "
            f"{auc.interval[0]:.3f}–{auc.interval[1]:.3f}): no calibration mends that. Train it on "
            "images of the place, or do not use it there."
        )
    if sample.outside_population:
        warnings.append(
            f"The population check takes {sample.outside_population} of these {n} images for "
            "another population than that of the training, and will go on referring such images: "
            "recalibration leaves it as it is, since the weights have learned nothing about them."
        )
    if sample.rejected:
        warnings.append(
            f"The input gate would reject {sample.rejected} of these {n} images; it stays as it "
            "is, and they served for the fit all the same."
        )
    if sample.patients is None:
        warnings.append(
            "Patients are not known for every image: where one has several, all intervals are too "
            "narrow; name the column with --patient-column."
        )
    if "phantom" in sample.sources:
        warnings.append("These images are synthetic phantoms: for demonstrations and tests only.")
    return warnings


def _list_files(
    bundle: Bundle, sample: _Sample, precisions: dict[str, PrecisionInfo]
) -> dict[str, bytes | Path]:
    """Return the new bundle's files: what was fitted, what it has seen, and the rest as it was."""
    offered = {GRAPH, *(precision.graph for precision in precisions.values())}
    files: dict[str, bytes | Path] = {
        name: bundle.file(name)
        for name in bundle.info.files
        if name != CARD and (not name.endswith(".onnx") or name in offered)
    }
    arrays = replace_inputs(bundle.reference(), sample.squares, sample.outputs.features)
    arrays |= {"logits": sample.outputs.logits, "labels": sample.labels.astype(np.int8)}
    files[REFERENCE] = pack_arrays(arrays)
    # Whoever is judged later on these images must hear that they set the thresholds.
    hashes = ImageHashes(tuple(sample.frame["sha256"]), tuple(sample.frame["phash"]))
    files[TRAINING_IMAGES] = pack_images(bundle.training_images() | hashes)
    return files

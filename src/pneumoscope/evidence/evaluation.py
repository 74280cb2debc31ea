"""`evaluate`: a bundle and labelled images become numbers, figures and a report."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope import __version__
from pneumoscope.bundle import Bundle, ImageHashes
from pneumoscope.datasets import (
    SPLITS,
    CollectionOptions,
    Layout,
    Skipped,
    build_manifest,
    count_images,
    load_pixels,
    open_collection,
    read_radiograph,
)
from pneumoscope.errors import DataError
from pneumoscope.evaluation import OperatingPoint
from pneumoscope.evidence.assessment import write_evaluation
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.runtime import Objection, Predictor, load

Progress = Callable[[int, int], None]
_OURS = {"metrics.json", "predictions.csv", "figures", "report.html"}


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


def evaluate_bundle(
    bundle: Path | None,
    data: Path,
    out: Path,
    *,
    options: CollectionOptions | None = None,
    split: str | None = None,
    engine: str = "openvino",
    precision: str = "fp32",
    progress: Progress | None = None,
) -> EvaluationResult:
    """Judge a bundle, as it decides, on labelled images.

    Parameters
    ----------
    split
        `train`, `val`, `test` or `all`; by default test where the data has one, else all.

    Raises
    ------
    DataError
        The split is empty, or has one class only.
    BundleError
        The bundle is missing or damaged.
    """
    check_out(out, _OURS)
    predictor = load(bundle, engine=engine, precision=precision)
    collection = open_collection(data, options)
    manifest = build_manifest(collection, progress=progress)
    images = ImageHashes(tuple(manifest.frame["sha256"]), tuple(manifest.frame["phash"]))
    seen = pl.Series("seen", predictor.bundle.training_images().find(images))
    # A patient, or a copy, of whom the bundle saw one image is no stranger to it.
    whole = manifest.frame.with_columns(seen).with_columns(pl.col("seen").any().over("group"))
    frame, split, note = _choose_split(whole, collection.layout, split)
    notes = [*collection.notes, *manifest.notes, note]
    final = str(predictor.bundle.info.training.get("final", "model"))
    predictions = _predict(predictor, frame, final, split, progress)
    warnings = _list_warnings(predictor.bundle, frame)
    notes += _describe_objections(predictions)
    points = {final: _read_points(predictor)}
    excluded = (*collection.skipped, *manifest.excluded)
    context = EvaluationContext(
        title=f"Evaluation of {predictor.bundle.info.name}",
        data_summary={
            "layout": collection.layout.value,
            "counts": {split: _count_labels(frame)},
            "sources": frame["source"].unique().sort().to_list(),
            "excluded": [dataclasses.asdict(entry) for entry in excluded],
        },
        notes=notes,
        warnings=warnings,
        configuration={"bundle": predictor.bundle.sha256, "engine": engine, "precision": precision},
        environment={"pneumoscope": __version__, "python": platform.python_version()},
    )
    metrics = write_evaluation(out, predictions, points, final, context, explainer=predictor)
    return EvaluationResult(
        out,
        final,
        split,
        metrics,
        tuple(notes),
        tuple(warnings),
        excluded,
    )


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


def _list_warnings(bundle: Bundle, frame: pl.DataFrame) -> list[str]:
    warnings = list(bundle.info.warnings)
    if "phantom" in frame["source"].to_list():
        warnings.append("These images are synthetic phantoms: for demonstrations and tests only.")
    seen = int(frame["seen"].sum())
    if seen:
        warnings.append(
            f"{seen} of {frame.height} images ({seen / frame.height:.0%}) were among those that "
            "the bundle was trained or chosen on, or are of the same patients: the numbers are too "
            "good."
        )
    return warnings


def _predict(
    predictor: Predictor, frame: pl.DataFrame, stage: str, split: str, progress: Progress | None
) -> pl.DataFrame:
    """Answer every image, also those that the gate would reject, and note its objections."""
    pixels = load_pixels(frame, predictor.bundle.info.preprocessing)
    paths = frame["path"].to_list()
    logits: list[NDArray[np.float32]] = []
    objections: list[Objection] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, frame.height, 64):
            rows = slice(start, start + 64)
            outputs = predictor.predict_pixels(pixels[rows])
            radiographs = pool.map(read_radiograph, paths[rows])
            logits.append(outputs.logits)
            objections += map(predictor.examine, radiographs, pixels[rows], outputs.features)
            if progress:
                progress(min(start + 64, frame.height), frame.height)
    values = np.concatenate(logits)
    return frame.select("path", "label", "split", "patient", "subtype", "seen").with_columns(
        pl.lit(split).alias("split"),
        pl.lit(stage).alias("stage"),
        pl.Series("logit", values),
        pl.Series("probability", predictor.calibrate(values)),
        pl.Series("rejection", [found.reason for found in objections], dtype=pl.String),
        pl.Series("outside_population", [found.outside_population for found in objections]),
    )


def _read_points(predictor: Predictor) -> dict[str, OperatingPoint]:
    points = {
        name: OperatingPoint(name, p.threshold, p.target, p.sensitivity, p.specificity)
        for name, p in predictor.operating_points.items()
    }
    return points | {"balanced": points[predictor.bundle.info.decides]}


def _count_labels(frame: pl.DataFrame) -> dict[str, int]:
    counts = count_images(frame.with_columns(pl.lit("test").alias("split")))
    return counts["test"]


def check_out(out: Path, ours: Collection[str]) -> None:
    """Raise `DataError` where a folder for results is a file, or holds others than `ours`."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: --out takes a folder.")
    foreign = [p.name for p in out.iterdir() if p.name not in ours] if out.exists() else []
    if foreign:
        raise DataError(
            f"{out} holds other things, such as {foreign[0]}: choose a new folder for --out."
        )

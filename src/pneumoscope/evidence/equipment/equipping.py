"""Equipping a bundle for use: all that is fitted after training, on images that trained nothing.

Calibration, thresholds, the gate, the population check, the faster precisions and the golden
images come from the part of the data that training held out. The weights stay as they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pneumoscope.bundle import (
    GOLDEN,
    GRAPH,
    REFERENCE,
    Bundle,
    BundleInfo,
    Calibration,
    LicenceInfo,
    OperatingPointInfo,
    check_free,
    pack_arrays,
    read_bundle,
    write_files,
)
from pneumoscope.datasets import build_manifest, load_pixels, open_collection, read_labels
from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.errors import DataError
from pneumoscope.evaluation import fit_calibration
from pneumoscope.evidence.equipment.gating import Radiographs, fit_gate, fit_population
from pneumoscope.evidence.equipment.precisions import (
    answer_squares,
    choose_points,
    compare_precision,
)
from pneumoscope.evidence.progress import give_title
from pneumoscope.evidence.sample_size import count_cases, list_shortages
from pneumoscope.images import normalise
from pneumoscope.runtime import Predictor, equal_reference, replace_inputs

Progress = Callable[[int, int], None]
#: Makes an int8 graph of a bundle from normalised images, each float32 [1, 3, size, size].
Quantiser = Callable[[Bundle, Iterable[NDArray[np.float32]]], bytes]

INT8_GRAPH = "model.int8.onnx"
_QUANTISER_IMAGES = 300
_GATE_IMAGES = 2000
_GOLDEN_IMAGES = 4
_SEED = 0


@dataclass(frozen=True)
class Equipment:
    """What a bundle is to be equipped with."""

    data: Path
    """A manifest with the splits of the training: `train`, and `val` for the calibration part."""
    outside: Path | None = None
    """Radiographs of another population, for the population check; none without."""
    quantiser: Quantiser | None = None
    """Makes the int8 graph; without one int8 is not tried."""
    rule_out_sensitivity: float = 0.975
    rule_in_specificity: float = 0.98
    licence: LicenceInfo | None = None


@dataclass(frozen=True)
class Equipped:
    """The new bundle, opened, and what has to be said about it."""

    bundle: Bundle
    warnings: tuple[str, ...]


def equip_bundle(
    source: Path, out: Path, equipment: Equipment, progress: Callable[[str, int, int], None]
) -> Equipped:
    """Write a bundle of the same weights, equipped, to `out`.

    Where there are too few cases for what the thresholds aim at, what is returned says so.

    Raises
    ------
    DataError
        The data has no train or no val part, or a class is missing in the val part.
    BundleError
        The bundle is damaged, or `out` cannot be written.
    """
    check_free(out)
    bundle = read_bundle(source)
    spec = bundle.info.preprocessing
    frame = _read_parts(equipment.data)
    warnings = _list_doubts(frame, equipment)
    pixels = load_pixels(frame, spec, progress=give_title(progress, "Preparing pixels"))
    held = np.flatnonzero((frame["split"] == "val").to_numpy())
    trained = _draw(np.flatnonzero((frame["split"] == "train").to_numpy()), _GATE_IMAGES)
    labels = read_labels(frame)

    predictor = Predictor(bundle, precision="fp32")
    part = answer_squares(
        predictor, pixels[held], give_title(progress, "Answering the calibration part")
    )
    arrays: dict[str, NDArray[Any]] = {
        "logits": part.logits,
        "labels": labels[held].astype(np.int8),
    }
    known = answer_squares(
        predictor, pixels[trained], give_title(progress, "Answering training images")
    )
    others = None
    if equipment.outside is not None:
        squares = _read_squares(equipment.outside, bundle)
        title = give_title(progress, "Answering the other population")
        others = Radiographs(squares, answer_squares(predictor, squares, title).features)
        arrays |= fit_population(pixels[trained], pixels[held], squares)
    arrays |= fit_gate(pixels[trained], known.features, pixels[held], part.features, others=others)
    arrays = replace_inputs(arrays, pixels[held], part.features)
    calibration, points = _fit_points(part.logits, labels[held], equipment)
    info = bundle.info.model_copy(
        update={
            "calibration": calibration,
            "operating_points": points,
            "licence": equipment.licence or bundle.info.licence,
            "precisions": {},
        }
    )
    files: dict[str, bytes | Path] = {
        name: bundle.file(name) for name in bundle.info.files if name != "README.md"
    }
    files[REFERENCE] = pack_arrays(arrays)
    graphs = {"bf16": GRAPH}
    if equipment.quantiser is not None:
        chosen = _draw(trained, _QUANTISER_IMAGES)
        images = (normalise(pixels[row][None], spec) for row in chosen)
        progress("Making int8", 0, 1)
        files[INT8_GRAPH] = equipment.quantiser(bundle, images)
        progress("Making int8", 1, 1)
        graphs["int8"] = INT8_GRAPH
    squares = _draw_golden(spec.size)
    golden: dict[str, NDArray[Any]] = {"squares": squares}
    with tempfile.TemporaryDirectory() as name:
        # Each precision is measured as it will run: from a bundle that offers it.
        trial = write_files(Path(name) / "trial", _offer(info, graphs), files)
        for precision in ("fp32", *graphs):
            runner = Predictor(trial, precision=precision)
            golden[f"logits_{precision}"] = runner.predict_pixels(squares).logits
            if precision == "fp32":
                continue
            title = give_title(progress, f"Comparing {precision}")
            logits = answer_squares(runner, pixels[held], title).logits
            own, own_points = _fit_points(logits, labels[held], equipment)
            found = compare_precision(
                labels[held],
                (calibration.apply(part.logits), points),
                (own.apply(logits), own_points),
                own,
                graphs[precision],
            )
            info = info.model_copy(update={"precisions": info.precisions | {precision: found}})
            if not found.accepted and found.graph != GRAPH:
                del files[found.graph]  # nobody may run it; what was measured stays
        files[GOLDEN] = pack_arrays(golden)
        return Equipped(write_files(out, info, files), warnings)


def _list_doubts(frame: pl.DataFrame, equipment: Equipment) -> tuple[str, ...]:
    """Say where the calibration part has too few cases for what its thresholds aim at."""
    cases = count_cases(frame.filter(pl.col("split") == "val"))
    for label, n in cases.items():
        if not n:
            raise DataError(
                f"The val part of {equipment.data} has no {label} image: both classes are needed "
                "to set thresholds; split the data anew, or hold more of it out."
            )
    targets = {
        "PNEUMONIA": equipment.rule_out_sensitivity,
        "NORMAL": equipment.rule_in_specificity,
    }
    return tuple(list_shortages(cases, targets))


def _read_parts(data: Path) -> pl.DataFrame:
    frame = build_manifest(open_collection(data)).frame
    present = set(frame["split"].drop_nulls())
    for split in ("train", "val"):
        if split not in present:
            raise DataError(
                f"{data} has no split {split!r}: equipping takes the manifest of the training, "
                "such as runs/NAME/manifest.parquet, whose val part sets the thresholds."
            )
    return frame


def _draw(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most this many of the rows, drawn without repetition, in order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(_SEED).choice(rows, most, replace=False))


def _read_squares(data: Path, bundle: Bundle) -> NDArray[np.uint8]:
    """Return images as the network sees them: those of `train`, where splits are given."""
    frame = build_manifest(open_collection(data)).frame
    if frame["split"].null_count() < frame.height:
        frame = frame.filter(pl.col("split") == "train")
    return load_pixels(frame, bundle.info.preprocessing)


def _draw_golden(size: int) -> NDArray[np.uint8]:
    """Return synthetic radiographs, uint8 [4, size, size]: they belong to nobody."""
    phantoms = []
    for index in range(_GOLDEN_IMAGES):
        generator = np.random.default_rng([_SEED, index])
        disease = Disease.CONSOLIDATION if index % 2 else None
        phantoms.append(draw_phantom(generator, disease, size=size).pixels)
    return np.stack(phantoms)


def _fit_points(
    logits: NDArray[np.float32], labels: NDArray[np.int64], equipment: Equipment
) -> tuple[Calibration, dict[str, OperatingPointInfo]]:
    """Return calibration and thresholds, from logits of the calibration part."""
    fitted = fit_calibration(labels, logits.astype(np.float64))
    calibration = Calibration(temperature=fitted.temperature, bias=fitted.bias)
    probabilities = calibration.apply(logits)
    return calibration, choose_points(
        labels, probabilities, equipment.rule_out_sensitivity, equipment.rule_in_specificity
    )


def _offer(info: BundleInfo, graphs: Mapping[str, str]) -> BundleInfo:
    """Return the description of a bundle that offers every precision, to try them."""
    offered = {name: equal_reference(info, graph) for name, graph in graphs.items()}
    return info.model_copy(update={"precisions": offered})

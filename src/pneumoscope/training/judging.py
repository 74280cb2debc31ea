"""After training: every stage is judged, and the final one described for bundle and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumoscope import __version__
from pneumoscope.bundle import BundleInfo, Calibration, DataInfo
from pneumoscope.datasets import mark_leaked, read_labels
from pneumoscope.evaluation import OperatingPoint, choose_operating_points
from pneumoscope.evidence import (
    CARRIED,
    EvaluationContext,
    add_quality,
    fingerprint_images,
    state_points,
    summarise,
    tabulate_characteristics,
)
from pneumoscope.network import PARTS, PneumoniaResNet50, fold_batch_norm, round_weights
from pneumoscope.training.environment import describe_environment
from pneumoscope.training.facts import RunFacts
from pneumoscope.training.inputs import PixelInputs, run_frozen, run_trainable
from pneumoscope.training.loop import check_finite
from pneumoscope.training.recipe import Stage

Points = dict[str, dict[str, OperatingPoint]]
#: Of the numbers of a split, those that a bundle carries along.
_CARRIED = (
    "n", "positives", "threshold", "tn", "fp", "fn", "tp", "accuracy", "recall", "specificity",
    "precision", "f1", "auc", "average_precision", "brier", "intervals",
)  # fmt: skip


def judge_stages(
    facts: RunFacts,
    network: PneumoniaResNet50,
    pixels: NDArray[np.uint8],
    load_stage: Callable[[str], object],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pl.DataFrame, Points]:
    """Return predictions of every stage on validation and test, and thresholds from validation.

    In fp32, and with weights rounded as the bundle stores them: what is judged is what is saved.
    `load_stage` puts a stage's weights into `network`, which is left with the last stage's.

    Raises
    ------
    RunError
        A stage diverged.
    """
    networks = {}
    for stage in facts.recipe.stages:
        load_stage(stage.name)
        round_weights(network)
        networks[stage.name] = fold_batch_norm(network)
    rows = np.concatenate([facts.find_rows("val"), facts.find_rows("test")])
    images = PixelInputs(pixels, facts.recipe.preprocessing, None, facts.device)
    size = facts.recipe.preprocessing.size
    logits = _predict_stages(networks, facts.recipe.stages, images, rows, size, progress)
    frame = mark_leaked(facts.frame)[rows.tolist()]
    base = add_quality(frame.select(*CARRIED, "patient_in_train", "copy_in_train"), pixels[rows])
    tables, points = [], {}
    for stage in facts.recipe.stages:
        check_finite(logits[stage.name], stage)
        table = base.with_columns(
            pl.lit(stage.name).alias("stage"),
            pl.Series("logit", logits[stage.name]),
            pl.Series("probability", Calibration().apply(logits[stage.name])),
        )
        tables.append(table)
        val = table.filter(pl.col("split") == "val")
        points[stage.name] = choose_operating_points(
            read_labels(val),
            val["probability"].to_numpy(),
            sensitivity=facts.recipe.rule_out_sensitivity,
            specificity=facts.recipe.rule_in_specificity,
        )
    return pl.concat(tables), points


@torch.no_grad()
def _predict_stages(
    networks: Mapping[str, PneumoniaResNet50],
    stages: Sequence[Stage],
    images: PixelInputs,
    rows: NDArray[np.int64],
    size: int,
    progress: Callable[[int, int], None] | None,
    batch: int = 32,
) -> dict[str, NDArray[np.float32]]:
    """Return the logits, float32 [len(rows)], of every stage; what they share is run once."""
    shared = _find_shared_part(stages)
    first = networks[stages[0].name]
    logits: dict[str, list[Tensor]] = {name: [] for name in networks}
    for start in range(0, len(rows), batch):
        stem = images.load_batch(rows[start : start + batch], size, train=False)
        if shared is not None:
            stem = run_frozen(first, stem, shared)
        for name, network in networks.items():
            logits[name].append(run_trainable(network, stem, shared).cpu())
        if progress:
            progress(min(start + batch, len(rows)), len(rows))
    return {name: torch.cat(parts).numpy() for name, parts in logits.items()}


def _find_shared_part(stages: Sequence[Stage]) -> str | None:
    """Return the last part that no stage after the first has changed, None where there is none."""
    frozen = [stage.frozen_upto for stage in stages[1:]]
    kept = [part for part in frozen if part is not None]
    return min(kept, key=PARTS.index) if kept and len(kept) == len(frozen) else None


def describe_bundle(
    facts: RunFacts, predictions: pl.DataFrame, points: Points, final: str
) -> BundleInfo:
    """Return what `bundle.json` says of the final stage."""
    return BundleInfo(
        name=facts.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        preprocessing=facts.recipe.preprocessing,
        calibration=Calibration(),
        operating_points=state_points(points[final]),
        metrics=_carry(summarise(predictions, points, final, brief=True)),
        training={"final": final, **_leave_machine_out(facts.config)},
        data=DataInfo(
            layout=facts.config["layout"],
            sources=facts.list_sources(),
            counts=facts.count_images(),
            phantom=facts.is_phantom(),
            contaminated=bool(facts.config["weights_taken"]["contaminated"]),
        ),
        warnings=facts.list_warnings(),
        versions={
            "pneumoscope": __version__,
            **describe_environment(facts.device, facts.precision)["packages"],
        },
    )


def describe_context(
    facts: RunFacts, summaries: dict[str, str], best_epochs: dict[str, int]
) -> EvaluationContext:
    """Return what the report says around the numbers."""
    return EvaluationContext(
        title=f"Training run {facts.name}",
        data_summary={
            "layout": facts.config["layout"],
            "counts": facts.count_images(),
            "sources": facts.list_sources(),
            "excluded": facts.config["excluded"],
            "characteristics": tabulate_characteristics(facts.frame),
            "fingerprint": fingerprint_images(facts.frame["sha256"]),
        },
        notes=[*facts.config["notes"], facts.config["weights_taken"]["note"]],
        warnings=facts.list_warnings(),
        history=pl.DataFrame([dataclasses.asdict(row) for row in facts.history]),
        stage_summaries=summaries,
        best_epochs=best_epochs,
        configuration=facts.config,
        preprocessing=facts.recipe.preprocessing.model_dump(mode="json"),
        seconds=sum(row.seconds for row in facts.history),
        environment=describe_environment(facts.device, facts.precision),
    )


def _carry(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        stage: {
            split: {name: numbers[name] for name in _CARRIED} for split, numbers in splits.items()
        }
        for stage, splits in metrics.items()
        if stage != "final"
    }


def _leave_machine_out(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out what tells of the machine rather than of the training, and the long lists."""
    left_out = {"data", "notes", "excluded", "options"}
    return {key: value for key, value in config.items() if key not in left_out}

"""From predictions to numbers, figures and a report; the same for a training run and `evaluate`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pneumoscope._files import replace_atomically, write_atomically
from pneumoscope.evaluation import (
    Metrics,
    OperatingPoint,
    compute_metrics,
    plot_confusion,
    plot_history,
    plot_precision_recall,
    plot_roc,
    wilson_interval,
)
from pneumoscope.evaluation.metrics import Labels, Scores
from pneumoscope.evidence.context import EvaluationContext
from pneumoscope.evidence.gallery import GalleryTile, draw_gallery
from pneumoscope.evidence.report import write_report
from pneumoscope.evidence.robustness_result import RobustnessResult
from pneumoscope.evidence.robustness_writing import write_robustness
from pneumoscope.runtime import Predictor, decide_by_band

Points = Mapping[str, Mapping[str, OperatingPoint]]
_SPLITS = ("train", "val", "test", "all")


def write_evaluation(
    out: Path,
    predictions: pl.DataFrame,
    operating_points: Points,
    final: str,
    context: EvaluationContext,
    *,
    explainer: Predictor | None,
    measure_robustness: Callable[[], RobustnessResult] | None = None,
) -> dict[str, Any]:
    """Write `metrics.json`, `predictions.csv`, `figures/` and `report.html`; return the metrics.

    Parameters
    ----------
    predictions
        One row an image and stage: path, label, split, patient, subtype, stage, logit, probability,
        and optionally seen, whether the model was trained or chosen on the image: where that holds
        for some, the others are judged once more as `unseen`; and optionally rejection and
        outside_population, what speaks against answering: it moves decisions, nothing else.
    operating_points
        Stage → name → point; `balanced` decides.
    final
        The stage whose missed cases are shown.
    explainer
        Makes the heat-maps of the final stage; without one there is no gallery.
    measure_robustness
        Called once all else is written, since it takes long; what it finds joins the files.
    """
    metrics = summarise(predictions, operating_points, final)
    judged = _decide(predictions, operating_points)
    with replace_atomically(out / "predictions.csv") as temporary:
        judged.write_csv(temporary)
    write_atomically(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    shown_split = "test" if "test" in metrics[final] else next(iter(metrics[final]))
    figures = _draw_figures(
        out / "figures", predictions, operating_points, final, shown_split, context
    )
    tiles: list[GalleryTile] = []
    if explainer is not None:
        rows = judged.filter((pl.col("stage") == final) & (pl.col("split") == shown_split))
        tiles = draw_gallery(
            rows, explainer, operating_points[final]["balanced"].threshold, out / "figures"
        )
    write_report(out / "report.html", metrics, final, shown_split, context, figures, tiles)
    if measure_robustness is not None:
        result = measure_robustness()
        figures |= write_robustness(out, result)
        metrics[final][shown_split]["robustness"] = result.summarise()
        write_atomically(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
        context = dataclasses.replace(context, robustness=result)
        write_report(out / "report.html", metrics, final, shown_split, context, figures, tiles)
    return metrics


def summarise(predictions: pl.DataFrame, points: Points, final: str) -> dict[str, Any]:
    """Return the tree of `metrics.json`: stage → split → numbers, and the final stage."""
    tree: dict[str, Any] = {}
    for stage, stage_points in points.items():
        rows = predictions.filter(pl.col("stage") == stage)
        parts = {split: rows.filter(pl.col("split") == split) for split in _SPLITS}
        if "seen" in rows.columns and rows["seen"].any():
            parts["unseen"] = rows.filter(~pl.col("seen"))
        tree[stage] = {
            name: _summarise_rows(part, stage_points) for name, part in parts.items() if part.height
        }
    tree["final"] = final
    return tree


def _summarise_rows(rows: pl.DataFrame, points: Mapping[str, OperatingPoint]) -> dict[str, Any]:
    labels, scores = _split_columns(rows)
    groups = rows["patient"].to_list()
    balanced = points["balanced"].threshold
    found = compute_metrics(labels, scores, balanced, groups).to_dict()
    missed = rows.filter((pl.col("label") == "PNEUMONIA") & (pl.col("probability") < balanced))
    found["false_negatives"] = missed.sort("probability")["path"].to_list()
    found["operating_points"] = {
        name: {
            **_brief(compute_metrics(labels, scores, point.threshold, groups)),
            "target": point.target,
        }
        for name, point in points.items()
    }
    found["as_decided"] = _summarise_decisions(_decide(rows, {rows["stage"][0]: points}))
    found["at_0.5"] = _brief(compute_metrics(labels, scores, 0.5, groups))
    found["subgroups"] = _summarise_subgroups(rows, balanced)
    return found


def _brief(metrics: Metrics) -> dict[str, Any]:
    tree = metrics.to_dict()
    names = ("threshold", "accuracy", "recall", "specificity", "precision", "tn", "fp", "fn", "tp")
    return {name: tree[name] for name in names} | {"intervals": tree["intervals"]}


def _summarise_decisions(rows: pl.DataFrame) -> dict[str, Any]:
    """Return what the decisions are worth.

    REFER and REJECTED count as flagged, since a person will look, and as wrong for accuracy.
    """
    ill, flagged = rows["label"] == "PNEUMONIA", rows["decision"] != "NORMAL"
    counts = {
        "sensitivity": (int((ill & flagged).sum()), int(ill.sum())),
        "specificity": (int((~ill & ~flagged).sum()), int((~ill).sum())),
        "accuracy": (int((rows["decision"] == rows["label"]).sum()), rows.height),
        "referred": (int((rows["decision"] == "REFER").sum()), rows.height),
        "rejected": (int((rows["decision"] == "REJECTED").sum()), rows.height),
    }
    found: dict[str, Any] = {"intervals": {}}
    for name, (hits, n) in counts.items():
        interval = wilson_interval(hits, n)
        found[name] = hits / n if n else None
        found["intervals"][name] = [interval.low, interval.high] if interval else None
    return found


def _summarise_subgroups(rows: pl.DataFrame, threshold: float) -> dict[str, Any]:
    """Return the sensitivity for each kind of pneumonia, with its width."""
    found = {}
    for name in ("bacteria", "virus"):
        part = rows.filter((pl.col("subtype") == name) & (pl.col("label") == "PNEUMONIA"))
        if part.height:
            hits = part.filter(pl.col("probability") >= threshold).height
            interval = wilson_interval(hits, part.height)
            assert interval is not None  # the part has rows
            found[name] = {
                "n": part.height,
                "recall": hits / part.height,
                "interval": [interval.low, interval.high],
            }
    return found


def _decide(predictions: pl.DataFrame, points: Points) -> pl.DataFrame:
    """Add `decision`: as `predict` decides, by the referral band where a stage has one."""
    parts = []
    for stage, named in points.items():
        balanced = named["balanced"]
        low = named.get("rule_out", balanced).threshold
        high = named.get("rule_in", balanced).threshold
        rows = predictions.filter(pl.col("stage") == stage)
        by_band = decide_by_band(rows["probability"].to_numpy(), low, high)
        decision: pl.Expr = pl.lit(pl.Series(by_band.tolist(), dtype=pl.String))
        if "rejection" in predictions.columns:
            decision = pl.when("outside_population").then(pl.lit("REFER")).otherwise(decision)
            rejected = pl.col("rejection").is_not_null()
            decision = pl.when(rejected).then(pl.lit("REJECTED")).otherwise(decision)
        parts.append(rows.with_columns(decision.alias("decision")))
    return pl.concat(parts)


def _draw_figures(
    folder: Path,
    predictions: pl.DataFrame,
    points: Points,
    final: str,
    split: str,
    context: EvaluationContext,
) -> dict[str, Path]:
    figures: dict[str, Path] = {}
    if context.history is not None:
        for stage in context.history["stage"].unique(maintain_order=True):
            epochs = context.history.filter(pl.col("stage") == stage).to_dict(as_series=False)
            best = context.best_epochs.get(stage)
            figures[f"Training: {stage}"] = plot_history(epochs, stage, folder, best)
    curves = {}
    for stage in points:
        rows = predictions.filter((pl.col("stage") == stage) & (pl.col("split") == split))
        curves[stage] = _split_columns(rows)
    labels, scores = curves[final]
    metrics = compute_metrics(labels, scores, points[final]["balanced"].threshold)
    figures["Confusion matrix"] = plot_confusion(metrics, f"{final}, {split}", folder, "confusion")
    if 0 < labels.sum() < len(labels):
        figures["ROC"] = plot_roc(curves, points[final], f"ROC, {split}", folder, "roc")
        figures["Precision–recall"] = plot_precision_recall(
            curves, f"Precision–recall, {split}", folder, "precision_recall"
        )
    return figures


def _split_columns(rows: pl.DataFrame) -> tuple[Labels, Scores]:
    labels = (rows["label"] == "PNEUMONIA").to_numpy().astype(np.int64)
    return labels, rows["probability"].to_numpy().astype(np.float64)

"""From predictions to numbers, figures and a report; the same for a training run and `evaluate`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pneumoscope._files import replace_atomically, write_atomically
from pneumoscope.evaluation import (
    band_precision_recall,
    band_roc,
    bin_probabilities,
    compute_decision_curve,
    compute_metrics,
    plot_confusion,
    plot_decision_curve,
    plot_forest,
    plot_history,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    tabulate_thresholds,
)
from pneumoscope.evidence.attention.measurement import Attention
from pneumoscope.evidence.external import compare_external
from pneumoscope.evidence.questions import Questions
from pneumoscope.evidence.report.context import EvaluationContext
from pneumoscope.evidence.report.gallery import GalleryTile, draw_gallery
from pneumoscope.evidence.report.page import write_report
from pneumoscope.evidence.robustness.result import RobustnessResult
from pneumoscope.evidence.robustness.writing import write_robustness
from pneumoscope.evidence.summary import (
    CalibrationPart,
    Points,
    decide,
    split_columns,
    summarise,
)
from pneumoscope.runtime import Predictor


@dataclass(frozen=True)
class WrittenEvaluation:
    """An evaluation that lies in its folder, with what its report was made from."""

    metrics: dict[str, Any]
    final: str
    split: str
    context: EvaluationContext
    figures: Mapping[str, str]
    """Title → path of the PNG within the folder."""
    tiles: Sequence[GalleryTile]

    def write_report(self, out: Path) -> None:
        """Write `report.html` and `report.json` from what lies in the folder."""
        figures = {title: out / name for title, name in self.figures.items()}
        write_report(out, self.metrics, self.final, self.split, self.context, figures, self.tiles)


def write_evaluation(
    out: Path,
    predictions: pl.DataFrame,
    operating_points: Points,
    final: str,
    context: EvaluationContext,
    *,
    explainer: Predictor | None,
    questions: Questions | None = None,
    calibration: CalibrationPart | None = None,
) -> WrittenEvaluation:
    """Write numbers, predictions, curves, figures and the report.

    The files are `metrics.json`, `predictions.csv`, `curve.csv`, `decision_curve.csv`, `figures/`,
    `report.html`, `report.json`, and `comparison.json` where the context has a comparison.

    Parameters
    ----------
    predictions
        One row an image and stage: path, label, split, patient, subtype, stage, logit, probability,
        and optionally seen, whether the model was trained or chosen on the image: where that holds
        for some, the others are judged once more as `unseen`; and optionally rejection and
        outside_population, what speaks against answering: it moves decisions, nothing else; and
        optionally patient_in_train and copy_in_train: where one holds for some test images, these
        and the others are judged once more as `leaked` and `clean`.
    operating_points
        Stage → name → point; `balanced` decides.
    final
        The stage whose missed cases are shown.
    explainer
        Makes the heat-maps of the final stage; without one there is no gallery.
    questions
        What is asked beyond the usual numbers.
    calibration
        The images that set the calibration, where they are not the `val` rows.
    """
    questions = questions or Questions()
    metrics = summarise(predictions, operating_points, final, questions, calibration)
    shown_split = "test" if "test" in metrics[final] else next(iter(metrics[final]))
    if context.internal is not None:
        drops = compare_external(context.internal, metrics[final][shown_split])
        metrics["external"] = drops.to_dict()
    balanced = operating_points[final]["balanced"].threshold
    shown = predictions.filter((pl.col("stage") == final) & (pl.col("split") == shown_split))
    judged = decide(predictions, operating_points)
    _write_table(judged, out / "predictions.csv")
    write_atomically(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    if context.comparison is not None:
        write_atomically(out / "comparison.json", json.dumps(context.comparison, indent=2) + "\n")
    _write_curves(predictions, out)
    figures = _draw_figures(
        out / "figures", predictions, operating_points, final, shown_split, context
    )
    figures |= _draw_clinical_figures(
        out / "figures", shown, metrics[final][shown_split], shown_split
    )
    tiles: list[GalleryTile] = []
    if explainer is not None:
        rows = judged.filter((pl.col("stage") == final) & (pl.col("split") == shown_split))
        tiles = draw_gallery(rows, explainer, balanced, out / "figures")
    names = {title: file.relative_to(out).as_posix() for title, file in figures.items()}
    written = WrittenEvaluation(metrics, final, shown_split, context, names, tiles)
    written.write_report(out)
    return written


def extend_evaluation(
    out: Path,
    written: WrittenEvaluation,
    *,
    robustness: RobustnessResult | None = None,
    attention: Attention | None = None,
) -> WrittenEvaluation:
    """Add to an evaluation in its folder what took longer to find out."""
    numbers = written.metrics[written.final][written.split]
    figures, context = dict(written.figures), written.context
    if robustness is not None:
        drawn = write_robustness(out, robustness)
        figures |= {title: file.relative_to(out).as_posix() for title, file in drawn.items()}
        numbers["robustness"] = robustness.summarise()
        context = dataclasses.replace(context, robustness=robustness)
    if attention is not None:
        numbers["attention"] = list(attention.summary)
        context = dataclasses.replace(context, attention=attention)
    write_atomically(out / "metrics.json", json.dumps(written.metrics, indent=2) + "\n")
    extended = dataclasses.replace(written, context=context, figures=figures)
    extended.write_report(out)
    return extended


def _write_table(frame: pl.DataFrame, file: Path) -> None:
    with replace_atomically(file) as temporary:
        frame.write_csv(temporary)


def _write_curves(predictions: pl.DataFrame, out: Path) -> None:
    """Write what each threshold gives, and the net benefit, of every stage and split."""
    curves, benefits = [], []
    for (stage, split), rows in predictions.group_by("stage", "split", maintain_order=True):
        labels, scores = split_columns(rows)
        place = (pl.lit(stage).alias("stage"), pl.lit(split).alias("split"))
        table = pl.DataFrame(tabulate_thresholds(labels, scores), infer_schema_length=None)
        curves.append(table.select(*place, pl.all()))
        benefit = compute_decision_curve(labels, scores, rows["patient"].to_list())
        benefits.append(pl.DataFrame(benefit.to_columns()).select(*place, pl.all()))
    _write_table(pl.concat(curves, how="vertical_relaxed"), out / "curve.csv")
    _write_table(pl.concat(benefits), out / "decision_curve.csv")


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
        curves[stage] = split_columns(rows)
    labels, scores = curves[final]
    metrics = compute_metrics(labels, scores, points[final]["balanced"].threshold)
    figures["Confusion matrix"] = plot_confusion(metrics, f"{final}, {split}", folder, "confusion")
    if 0 < labels.sum() < len(labels):
        # The last curve is the one with points and band.
        ordered = {stage: curves[stage] for stage in [*(s for s in curves if s != final), final]}
        rows = predictions.filter((pl.col("stage") == final) & (pl.col("split") == split))
        groups = rows["patient"].to_list()
        figures["ROC"] = plot_roc(
            ordered, points[final], f"ROC, {split}", folder, "roc", band_roc(labels, scores, groups)
        )
        figures["Precision–recall"] = plot_precision_recall(
            ordered,
            f"Precision–recall, {split}",
            folder,
            "precision_recall",
            band_precision_recall(labels, scores, groups),
        )
    return figures


def _draw_clinical_figures(
    folder: Path, rows: pl.DataFrame, numbers: Mapping[str, Any], split: str
) -> dict[str, Path]:
    """Draw calibration, decision curve and subgroups of one stage and split.

    `numbers` are those of `metrics.json`.
    """
    labels, scores = split_columns(rows)
    groups = rows["patient"].to_list()
    figures = {
        "Calibration": plot_reliability(
            bin_probabilities(labels, scores),
            scores,
            f"Calibration, {split}",
            folder,
            "reliability",
        ),
        "Decision curve": plot_decision_curve(
            compute_decision_curve(labels, scores, groups),
            f"Decision curve, {split}",
            folder,
            "decision_curve",
        ),
    }
    if numbers["subgroups"]:
        figures["Subgroups"] = plot_forest(
            numbers, numbers["subgroups"], f"Subgroups, {split}", folder, "subgroups"
        )
    return figures

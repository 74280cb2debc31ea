"""Figures, as PNG for pages and SVG for papers, readable in black and white.

Lines differ by dash and marker, not by colour alone. No global state of matplotlib is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from pneumoscope.evaluation.metrics import Labels, Metrics, Scores
from pneumoscope.evaluation.operating_points import OperatingPoint

_DARK, _LIGHT = "#1f3a5f", "#c8551b"
_STYLES = ((_DARK, "-", "o"), (_LIGHT, "--", "s"), ("#4d4d4d", ":", "^"), ("#7a9a01", "-.", "D"))
_POINT_MARKERS = {"rule_out": "v", "balanced": "o", "rule_in": "^"}


def plot_history(
    history: Mapping[str, Sequence[Any]], stage: str, folder: Path, best_epoch: int | None = None
) -> Path:
    """Draw accuracy and loss, train and validation, over the epochs of a stage.

    `history` maps the columns epoch, train_loss, val_loss, train_accuracy and val_accuracy to one
    value an epoch.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for part, (colour, dash, marker) in zip(("train", "val"), _STYLES, strict=False):
            axes.plot(
                history["epoch"],
                history[f"{part}_{name}"],
                color=colour,
                linestyle=dash,
                marker=marker,
                markersize=4,
                label={"train": "training", "val": "validation"}[part],
            )
        if best_epoch is not None:
            axes.axvline(best_epoch, color="0.6", linewidth=1, zorder=0)
            axes.annotate(
                f"kept: {best_epoch}",
                (best_epoch, 0.02),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                rotation=90,
                ha="right",
            )
        axes.set(xlabel="epoch", ylabel=name, title=f"{stage}: {name}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _tidy(axes)
        axes.legend(frameon=False)
    return _save(figure, folder, f"history_{stage}")


def plot_confusion(metrics: Metrics, title: str, folder: Path, name: str) -> Path:
    """Draw the confusion matrix as counts; missed pneumonias are framed."""
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axes = figure.subplots()
    counts = np.array([[metrics.tn, metrics.fp], [metrics.fn, metrics.tp]])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.3)
    words = (("true negatives", "false positives"), ("missed pneumonias", "true positives"))
    for row in range(2):
        for column in range(2):
            axes.text(
                column,
                row,
                f"{counts[row, column]}\n{words[row][column]}",
                ha="center",
                va="center",
                color="white" if share[row, column] > 0.7 else "black",
            )
    axes.add_patch(_frame_missed())
    axes.set_xticks([0, 1], ["NORMAL", "PNEUMONIA"])
    axes.set_yticks([0, 1], ["NORMAL", "PNEUMONIA"], rotation=90, va="center")
    axes.set(xlabel="answer", ylabel="label", title=title)
    return _save(figure, folder, name)


def plot_roc(
    curves: Mapping[str, tuple[Labels, Scores]],
    points: Mapping[str, OperatingPoint],
    title: str,
    folder: Path,
    name: str,
) -> Path:
    """Draw ROC curves by name; operating points lie on the last one."""
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    for (label, (labels, scores)), (colour, dash, _) in zip(curves.items(), _STYLES, strict=False):
        fpr, tpr, _ = roc_curve(labels, scores)
        axes.plot(fpr, tpr, color=colour, linestyle=dash, label=label)
    labels, scores = list(curves.values())[-1]
    for point in points.values():
        called = scores >= point.threshold
        axes.plot(
            called[labels == 0].mean(),
            called[labels == 1].mean(),
            _POINT_MARKERS.get(point.name, "x"),
            color="black",
            markersize=7,
            fillstyle="none",
            label=point.name,
        )
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title=title)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _tidy(axes)
    axes.legend(frameon=False, loc="lower right")
    return _save(figure, folder, name)


def plot_precision_recall(
    curves: Mapping[str, tuple[Labels, Scores]], title: str, folder: Path, name: str
) -> Path:
    """Draw precision–recall curves by name, with the share of positives as the floor."""
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    for (label, (labels, scores)), (colour, dash, _) in zip(curves.items(), _STYLES, strict=False):
        precision, recall, _ = precision_recall_curve(labels, scores)
        axes.plot(recall, precision, color=colour, linestyle=dash, label=label)
    floor = float(np.mean(labels))
    axes.axhline(floor, color="0.8", linewidth=1)
    axes.text(1, floor, "share of pneumonias ", va="bottom", ha="right", fontsize=8, color="0.4")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision", title=title)
    axes.set(xlim=(-0.02, 1.02), ylim=(min(0.5, floor) - 0.02, 1.02))
    _tidy(axes)
    axes.legend(frameon=False, loc="lower left")
    return _save(figure, folder, name)


def plot_folds(
    values: Sequence[tuple[str, float, tuple[float, float] | None]],
    pooled: tuple[float, tuple[float, float]],
    label: str,
    folder: Path,
    name: str,
) -> Path:
    """Draw one number of every fold with its interval, from top to bottom, and the pooled one.

    Parameters
    ----------
    values
        Name of the fold, value, and interval where there is one.
    pooled
        Value and interval over all images, drawn as a band.
    label
        What the number is.
    """
    figure = Figure(figsize=(6.4, 1.2 + 0.28 * len(values)), layout="constrained")
    axes = figure.subplots()
    value, (low, high) = pooled
    axes.axvspan(low, high, color="0.92", zorder=0)
    axes.axvline(value, color="0.5", linewidth=1, zorder=0, label="out of fold, pooled")
    for row, (_, point, interval) in enumerate(values):
        if interval is not None:
            axes.plot(interval, (row, row), color=_DARK, linewidth=1.6)
        axes.plot(point, row, "o", color=_DARK, markersize=5)
    axes.set_yticks(range(len(values)), [fold for fold, _, _ in values])
    axes.set(xlabel=label, ylim=(len(values) - 0.4, -0.6))
    _tidy(axes)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.14), fontsize=8)
    return _save(figure, folder, name)


def _frame_missed() -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((-0.47, 0.53), 0.94, 0.94, fill=False, linewidth=2.5, edgecolor="black")


def _tidy(axes: Axes) -> None:
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    # Without dates, the same numbers give the same files.
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=130)
    return folder / f"{name}.png"

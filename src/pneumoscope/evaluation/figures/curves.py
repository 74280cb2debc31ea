"""ROC and precision–recall curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.curve import Band
from pneumoscope.evaluation.figures.canvas import STYLES, save, tidy
from pneumoscope.evaluation.operating_points import OperatingPoint

_POINT_MARKERS = {"rule_out": "v", "balanced": "o", "rule_in": "^"}


def plot_roc(
    curves: Mapping[str, tuple[Labels, Scores]],
    points: Mapping[str, OperatingPoint],
    title: str,
    folder: Path,
    name: str,
    band: Band | None = None,
) -> Path:
    """Draw ROC curves by name; operating points and the band of resamples lie on the last one."""
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    _shade(axes, band)
    for (label, (labels, scores)), (colour, dash, _) in zip(curves.items(), STYLES, strict=False):
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
    tidy(axes)
    axes.legend(frameon=False, loc="lower right")
    return save(figure, folder, name)


def plot_precision_recall(
    curves: Mapping[str, tuple[Labels, Scores]],
    title: str,
    folder: Path,
    name: str,
    band: Band | None = None,
) -> Path:
    """Draw precision–recall curves by name, with the share of positives as the floor.

    The band of resamples is that of the last curve.
    """
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    _shade(axes, band)
    for (label, (labels, scores)), (colour, dash, _) in zip(curves.items(), STYLES, strict=False):
        precision, recall, _ = precision_recall_curve(labels, scores)
        axes.plot(recall, precision, color=colour, linestyle=dash, label=label)
    floor = float(np.mean(labels))
    axes.axhline(floor, color="0.8", linewidth=1)
    axes.text(1, floor, "share of pneumonias ", va="bottom", ha="right", fontsize=8, color="0.4")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision", title=title)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    tidy(axes)
    axes.legend(frameon=False, loc="best")
    return save(figure, folder, name)


def _shade(axes: Axes, band: Band | None) -> None:
    if band is not None:
        axes.fill_between(
            band.x, band.low, band.high, color="0.88", linewidth=0, label="95 % of resamples"
        )

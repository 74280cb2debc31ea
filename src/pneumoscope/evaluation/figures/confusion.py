"""The confusion matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pneumoscope.evaluation.figures.canvas import save
from pneumoscope.evaluation.metrics import Metrics


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
    axes.add_patch(
        Rectangle((-0.47, 0.53), 0.94, 0.94, fill=False, linewidth=2.5, edgecolor="black")
    )
    axes.set_xticks([0, 1], ["NORMAL", "PNEUMONIA"])
    axes.set_yticks([0, 1], ["NORMAL", "PNEUMONIA"], rotation=90, va="center")
    axes.set(xlabel="answer", ylabel="label", title=title)
    return save(figure, folder, name)

"""The reliability diagram, with counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pneumoscope.evaluation.figures.canvas import DARK, save, tidy
from pneumoscope.evaluation.reliability import ReliabilityBin


def plot_reliability(bins: Sequence[ReliabilityBin], title: str, folder: Path, name: str) -> Path:
    """Draw the share of pneumonias over the probability of each bin; below, how many images."""
    figure = Figure(figsize=(4.8, 5.4), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    x = np.array([part.mean_probability for part in bins])
    y = np.array([part.observed for part in bins])
    low = y - [part.interval.low for part in bins]
    high = np.array([part.interval.high for part in bins]) - y
    errors = np.maximum([low, high], 0)
    axes.errorbar(x, y, errors, color=DARK, marker="o", markersize=5, linewidth=1.2, capsize=3)
    axes.set(ylabel="share with pneumonia", title=title, ylim=(-0.02, 1.02))
    tidy(axes)
    lows = [part.low for part in bins]
    widths = [max(part.high - part.low, 0.004) for part in bins]
    counts.bar(lows, [part.n for part in bins], widths, align="edge", color="0.8", edgecolor="0.3")
    _write_counts(bins, counts)
    counts.set(xlabel="probability given", ylabel="images", xlim=(-0.02, 1.02))
    counts.margins(y=0.3)
    tidy(counts)
    return save(figure, folder, name)


def _write_counts(bins: Sequence[ReliabilityBin], axes: Axes) -> None:
    """Write how many, where there is room for it."""
    last = -1.0
    for part in bins:
        middle = (part.low + part.high) / 2
        if middle - last > 0.07:
            axes.annotate(
                str(part.n), (middle, part.n), (0, 2), textcoords="offset points", ha="center",
                fontsize=7,
            )  # fmt: skip
            last = middle

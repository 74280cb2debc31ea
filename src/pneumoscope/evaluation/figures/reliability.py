"""The reliability diagram, with counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pneumoscope.evaluation.arrays import Scores
from pneumoscope.evaluation.figures.canvas import DARK, save, tidy
from pneumoscope.evaluation.reliability import ReliabilityBin


def plot_reliability(
    bins: Sequence[ReliabilityBin], probabilities: Scores, title: str, folder: Path, name: str
) -> Path:
    """Draw the share of pneumonias over the probability of each bin; below, how many images.

    `probabilities`, float [N], are counted in twentieths, on a logarithmic scale: most images lie
    at the ends.
    """
    figure = Figure(figsize=(4.8, 5.6), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    x = np.array([part.mean_probability for part in bins])
    y = np.array([part.observed for part in bins])
    ends = np.array([[part.interval.low, part.interval.high] for part in bins]).T
    errors = np.maximum(np.abs(ends - y), 0)
    axes.errorbar(x, y, errors, color=DARK, marker="o", markersize=5, linewidth=1.2, capsize=3)
    axes.set(ylabel="share with pneumonia", title=title, ylim=(-0.02, 1.02))
    axes.text(0.02, 0.95, _describe_bins(bins), transform=axes.transAxes, fontsize=8, color="0.4")
    tidy(axes)
    counts.hist(probabilities, np.linspace(0, 1, 21), color="0.8", edgecolor="0.3", log=True)
    counts.set(xlabel="probability given", ylabel="images", xlim=(-0.02, 1.02))
    counts.set_ylim(bottom=0.7)
    tidy(counts)
    return save(figure, folder, name)


def _describe_bins(bins: Sequence[ReliabilityBin]) -> str:
    sizes = [part.n for part in bins]
    low, high = min(sizes), max(sizes)
    return f"{len(bins)} bins of {low if low == high else f'{low} to {high}'} images"

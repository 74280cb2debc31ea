"""One number of every fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pneumoscope.evaluation.figures.canvas import DARK, save, tidy


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
            axes.plot(interval, (row, row), color=DARK, linewidth=1.6)
        axes.plot(point, row, "o", color=DARK, markersize=5)
    axes.set_yticks(range(len(values)), [fold for fold, _, _ in values])
    axes.set(xlabel=label, ylim=(len(values) - 0.4, -0.6))
    tidy(axes)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.14), fontsize=8)
    return save(figure, folder, name)

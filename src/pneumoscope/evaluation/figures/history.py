"""How a training went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pneumoscope.evaluation.figures.canvas import STYLES, save, tidy


def plot_history(
    history: Mapping[str, Sequence[Any]], stage: str, folder: Path, best_epoch: int | None = None
) -> Path:
    """Draw accuracy and loss, train and validation, over the epochs of a stage.

    `history` maps the columns epoch, train_loss, val_loss, train_accuracy and val_accuracy to one
    value an epoch.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for part, (colour, dash, marker) in zip(("train", "val"), STYLES, strict=False):
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
        tidy(axes)
        axes.legend(frameon=False)
    return save(figure, folder, f"history_{stage}")

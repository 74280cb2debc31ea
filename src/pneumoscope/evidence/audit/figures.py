"""Figures of the audit, as PNG; sorts differ by dash, not by colour alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pneumoscope.datasets import FEATURES
from pneumoscope.evaluation.figures.canvas import DARK, STYLES, encode, tidy
from pneumoscope.evidence.audit.probes import Probe


def draw_probes(probes: Sequence[Probe]) -> bytes:
    """Return a forest plot of AUCs with their intervals; those that are not available are named."""
    figure = Figure(figsize=(6.4, 0.36 * len(probes) + 0.9), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0.5, color="0.6", linewidth=1, zorder=0)
    for row, probe in enumerate(probes):
        if probe.auc is None:
            axes.text(0.51, row, "not available", va="center", fontsize=8, color="0.45")
            continue
        if probe.interval is not None:
            axes.plot(probe.interval.to_list(), [row, row], color=DARK)
        axes.plot(probe.auc, row, "o", color=DARK, markersize=6)
        axes.text(1.015, row, f"{probe.auc:.2f}", va="center", fontsize=9)
        if probe.reason:
            axes.text(0.515, row, probe.reason, va="center", fontsize=8, color="0.45")
    names = [_name(probe.name) for probe in probes]
    axes.set_yticks(range(len(probes)), names)
    axes.set(xlim=(0.4, 1.0), ylim=(len(probes) - 0.5, -0.5), xlabel="AUC, 0.5 is chance")
    tidy(axes)
    return encode(figure, dpi=110)


def draw_distributions(
    features: pl.DataFrame, sorts: Sequence[str | None], names: Sequence[str]
) -> bytes:
    """Return the distribution of each feature that varies, one line a sort; empty if none does."""
    kept = np.array([sort or "" for sort in sorts])
    shown = [name for name in FEATURES if len(_drop_missing(features[name].to_numpy())) > 0]
    shown = [name for name in shown if np.nanstd(features[name].to_numpy()) > 1e-9]
    if not shown:
        return b""
    across = 3
    down = -(-len(shown) // across)
    figure = Figure(figsize=(3.1 * across, 1.9 * down + 0.4), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes, feature in zip(grid.flat, shown, strict=False):
        values = features[feature].to_numpy()
        low, high = np.nanquantile(values, [0.002, 0.998])
        if low == high:
            low, high = np.nanmin(values), np.nanmax(values)
        for name, (colour, dash, _) in zip(names, STYLES, strict=False):
            part = _drop_missing(values[kept == name])
            if len(part):
                axes.hist(
                    np.clip(part, low, high),
                    bins=np.linspace(low, high, 31),
                    weights=np.full(len(part), 1 / len(part)),
                    histtype="step",
                    color=colour,
                    linestyle=dash,
                    linewidth=1.4,
                    label=name,
                )
        axes.set_title(_name(feature), fontsize=9, loc="left")
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        tidy(axes)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    figure.legend(
        *grid.flat[0].get_legend_handles_labels(),
        loc="outside upper right",
        ncols=len(names),
        frameon=False,
        fontsize=9,
    )
    return encode(figure, dpi=110)


def _drop_missing(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known: NDArray[np.float64] = values[~np.isnan(values)]
    return known


def _name(name: str) -> str:
    return name.replace("_", " ").replace("jpeg", "JPEG")

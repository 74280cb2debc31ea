"""Figures on where a model looks: PNG for pages and SVG for papers."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pneumoscope._probability import format_probability
from pneumoscope.evaluation.figures.canvas import DARK, LIGHT, save, tidy
from pneumoscope.evidence.attention.influence import KINDS
from pneumoscope.evidence.attention.masking import CONDITIONS, apply_condition
from pneumoscope.images import Geometry, spread_over_image
from pneumoscope.runtime import CAPTION

_MEASURES = (("auc", "AUC"), ("recall", "sensitivity"), ("specificity", "specificity"))
_LIKENESS = (
    ("spearman", "rank correlation", DARK, "-", "o"),
    ("spearman_absolute", "rank correlation of absolute values", LIGHT, "--", "s"),
    ("ssim", "structural similarity", "#4d4d4d", ":", "^"),
)
_SHOWN = ("lungs_removed", "chest_removed", "only_lungs")


def plot_conditions(masking: dict[str, Any], folder: Path) -> Path:
    """Draw AUC, sensitivity and specificity with intervals under each condition."""
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, 3, sharey=True), _MEASURES, strict=True):
        for row, condition in enumerate(CONDITIONS):
            found = masking["conditions"][condition.name]
            if found[key] is None:
                continue
            colour = DARK if row == 0 else LIGHT
            axes.barh(row, found[key], color=colour, alpha=0.25, height=0.62)
            interval = found["intervals"].get(key)
            if interval:
                axes.plot(interval, [row, row], color=colour, linewidth=2)
            axes.plot(found[key], row, "o", color=colour, markersize=5)
        axes.set(xlim=(0, 1.02), title=title)
        if key == "auc":
            axes.axvline(0.5, color="0.4", linewidth=1, linestyle=":")
            axes.text(0.5, -0.75, "chance", fontsize=7, ha="center", color="0.4")
        axes.set_yticks(range(len(CONDITIONS)), [condition.title for condition in CONDITIONS])
        axes.set_ylim(len(CONDITIONS) - 0.5, -1)
        tidy(axes, "x")
    return save(figure, folder, "attention_conditions")


def plot_influence(influence: dict[str, Any], folder: Path) -> Path:
    """Draw the share of influence inside the lungs beside what chance would give."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    groups = [name for name in ("NORMAL", "PNEUMONIA", *KINDS) if influence[name]["n"]]
    for row, name in enumerate(groups):
        found = influence[name]
        axes.barh(row, found["inside"], color=DARK, alpha=0.3, height=0.6)
        if found["interval"]:
            axes.plot(found["interval"], [row, row], color=DARK, linewidth=2)
        axes.plot(found["area"], row, "|", color=LIGHT, markersize=20, markeredgewidth=2.5)
        axes.plot(found["mean_map"], row, "x", color="black", markersize=6)
    axes.plot([], [], "|", color=LIGHT, markersize=12, markeredgewidth=2.5, label="share of area")
    axes.plot([], [], "x", color="black", label="mean map of all images")
    axes.set_yticks(range(len(groups)), [f"{g} ({influence[g]['n']})" for g in groups])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the heat-map's positive influence inside the lungs")
    tidy(axes, "x")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return save(figure, folder, "attention_influence")


def plot_randomisation(randomisation: dict[str, Any], folder: Path) -> Path:
    """Draw how alike the maps stay to the original while layers are randomised."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    stages = randomisation["stages"]
    for key, title, colour, dash, marker in _LIKENESS:
        means = [1.0] + [stage[key]["mean"] for stage in stages]
        low = [1.0] + [stage[key]["low"] for stage in stages]
        high = [1.0] + [stage[key]["high"] for stage in stages]
        places = range(len(means))
        axes.fill_between(places, low, high, color=colour, alpha=0.10, linewidth=0)
        axes.plot(places, means, color=colour, linestyle=dash, marker=marker, label=title)
        another = randomisation["another_image"][key]["mean"]
        axes.plot(len(means) - 0.4, another, marker, color=colour, fillstyle="none")
    names = ["original", *(f"+ {stage['name']}" for stage in stages), "another\nimage"]
    axes.set_xticks([*range(len(stages) + 1), len(stages) + 0.6], names, fontsize=8)
    axes.axhline(0, color="0.6", linewidth=1)
    axes.set(ylim=(-1.02, 1.05), ylabel="likeness to the original map")
    axes.set_xlabel("randomised from the head down")
    tidy(axes, "y")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return save(figure, folder, "attention_randomisation")


def draw_examples(
    examples: list[tuple[str, int]],
    squares: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    maps: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    folder: Path,
) -> Path:
    """Draw images as they are with the mask's outline, as the model was shown them, and the map."""
    titles = {condition.name: condition.title for condition in CONDITIONS}
    columns = ["lungs as outlined", *(titles[name] for name in _SHOWN), "heat-map"]
    height = 1.75 * len(examples) + 0.7
    figure = Figure(figsize=(9.2, height), layout="constrained")
    figure.suptitle(f"The heat-map is an {CAPTION}.", fontsize=9)
    grid = figure.subplots(len(examples), len(columns), squeeze=False)
    for line, (kind, row) in zip(grid, examples, strict=True):
        square, mask = squares[row], masks[row]
        shown = [apply_condition(name, square, mask, mask, (0, 0)) for name in _SHOWN]
        for axes, picture in zip(line, [square, *shown, square], strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].contour(mask, [0.5], colors=LIGHT, linewidths=1.2)
        side = len(square)
        wide = np.maximum(spread_over_image(maps[row], side, side, Geometry.STRETCH), 0)
        opacity = np.clip(wide / max(float(wide.max()), 1e-9), 0, 1) * 0.6
        line[-1].imshow(wide, cmap="inferno", alpha=opacity)
        line[-1].contour(mask, [0.5], colors="white", linewidths=0.8)
        said = f"{kind}\n{format_probability(float(probabilities[row]))}"
        line[0].set_ylabel(said, fontsize=8)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(fill(title, 22), fontsize=8)
    return save(figure, folder, "attention_examples")

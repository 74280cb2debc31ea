"""The forest plot of subgroups: every group with its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pneumoscope.evaluation.figures.canvas import DARK, save, tidy

_PANELS = {"recall": "sensitivity", "specificity": "specificity", "auc": "AUC"}


def plot_forest(
    overall: Mapping[str, Any],
    subgroups: Mapping[str, Sequence[Mapping[str, Any]]],
    title: str,
    folder: Path,
    name: str,
) -> Path:
    """Draw sensitivity, specificity and AUC of all images and of each group, a row each.

    Numbers as `Metrics.to_dict` and `Subgroup.to_dict` give them; `subgroups` maps a column to its
    groups. Small groups have long lines: that is what they say.
    """
    rows: list[tuple[str, Mapping[str, Any] | None]] = [("all images", overall)]
    for column, groups in subgroups.items():
        rows.append((column, None))
        rows += [(f"   {group['name']}", group) for group in groups]
    figure = Figure(figsize=(12, max(2.5, 1.2 + 0.26 * len(rows))), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    numbered = {place: numbers for place, (_, numbers) in enumerate(rows) if numbers is not None}
    for axes, (key, word) in zip(panels, _PANELS.items(), strict=True):
        value = overall[key]
        if value is not None:
            axes.axvline(value, color="0.75", linewidth=1, linestyle="--", zorder=0)
        for place, row in numbered.items():
            _draw_row(axes, place, key, row)
        axes.set(xlabel=word, xlim=_find_limits(list(numbered.values()), key))
        tidy(axes)
    panels[0].set_yticks(range(len(rows)), [_name_row(*row) for row in rows], fontsize=8)
    for label, (_, numbers) in zip(panels[0].get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if numbers is None else "normal")
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(title, fontsize=11)
    return save(figure, folder, name)


def _name_row(name: str, numbers: Mapping[str, Any] | None) -> str:
    return name if numbers is None else f"{name}  (n = {numbers['n']})"


def _find_limits(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[float, float]:
    """Return an axis that shows every interval whole."""
    lows = [row["intervals"][key][0] for row in rows if row["intervals"].get(key)]
    low = np.floor(10 * min(lows, default=0.0)) / 10
    return float(low) - 0.02 * (1 - float(low)), 1 + 0.03 * (1 - float(low))


def _draw_row(axes: Axes, place: int, key: str, numbers: Mapping[str, Any]) -> None:
    value, interval = numbers.get(key), numbers["intervals"].get(key)
    if value is None:
        return
    said = f"{value:.3f}"
    if interval is not None:
        axes.plot(interval, [place, place], color=DARK, linewidth=1.4, marker="|", markersize=6)
        said += f" ({interval[0]:.3f}–{interval[1]:.3f})"
    axes.plot([value], [place], color=DARK, marker="o", markersize=5, linestyle="none")
    axes.annotate(
        said, (1.02, place), xycoords=("axes fraction", "data"), fontsize=7, va="center",
        annotation_clip=False,
    )  # fmt: skip

"""Performance against the strength of a shift, as small multiples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pneumoscope.evaluation.figures.canvas import STYLES, save, tidy
from pneumoscope.evaluation.intervals import Interval

_ACROSS = 4
_HATCHED: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.65", "hatch": "/////"}
_DOTTED: Any = (0, (1, 2))


class Curve(NamedTuple):
    """One panel: numbers at strengths 0 (unshifted) to 5."""

    title: str
    unit: str
    ticks: Sequence[str]
    """What stands below each strength."""
    lines: Mapping[str, Sequence[tuple[float | None, Interval | None]]]
    """Name → a number and its interval at each strength."""
    stopped: Sequence[float] | None
    """Share of images at each strength that gate and population check would not answer."""
    breaks_at: int | None


def plot_shift_curves(curves: Sequence[Curve], title: str, folder: Path, name: str) -> Path:
    """Draw a panel for each shift; where it breaks the model stands a vertical line."""
    down = -(-len(curves) // _ACROSS)
    figure = Figure(figsize=(3.4 * _ACROSS, 2.5 * down + 0.9), layout="constrained")
    figure.suptitle(title, fontsize=12)
    panels = figure.subplots(down, _ACROSS, sharey=True, squeeze=False).ravel()
    for axes, curve in zip(panels, curves, strict=False):
        _draw_panel(axes, curve)
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    for axes in panels[::_ACROSS]:
        axes.set_ylabel("share")
    figure.legend(
        handles=_make_legend(curves),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=10,
    )
    return save(figure, folder, name)


def _draw_panel(axes: Axes, curve: Curve) -> None:
    strengths = np.arange(len(curve.ticks))
    if curve.stopped is not None:
        axes.bar(strengths, curve.stopped, width=0.8, linewidth=0.6, zorder=0, **_HATCHED)
    for (_, points), (colour, dash, marker) in zip(curve.lines.items(), STYLES, strict=False):
        values = [np.nan if value is None else value for value, _ in points]
        low, high = (
            [np.nan if i is None else getattr(i, end) for _, i in points] for end in ("low", "high")
        )
        axes.fill_between(strengths, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(
            strengths, values, color=colour, linestyle=dash, marker=marker, markersize=4, zorder=3
        )
    if curve.breaks_at is not None:
        axes.axvline(curve.breaks_at, color="black", linewidth=1, linestyle=_DOTTED, zorder=2)
    axes.set_xticks(strengths, curve.ticks, fontsize=8)
    axes.set_ylim(-0.02, 1.03)
    axes.set_title(curve.title, fontsize=10, loc="left")
    axes.set_xlabel(curve.unit, fontsize=8)
    tidy(axes)


def _make_legend(curves: Sequence[Curve]) -> list[Line2D | Patch]:
    names = curves[0].lines if curves else {}
    handles: list[Line2D | Patch] = []
    for name, (colour, dash, marker) in zip(names, STYLES, strict=False):
        look: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": marker}
        handles.append(Line2D([], [], markersize=4, label=name, **look))
    handles.append(
        Line2D([], [], color="black", linewidth=1, linestyle=_DOTTED, label="breaks the model")
    )
    handles.append(Patch(color="0.5", alpha=0.25, label="95 % intervals"))
    if any(curve.stopped is not None for curve in curves):
        handles.append(Patch(label="stopped by gate or population check", **_HATCHED))
    return handles

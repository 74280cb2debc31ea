"""What all figures share: colours, dashes, axes, and how they are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DARK, LIGHT = "#1f3a5f", "#c8551b"
#: Colour, dash and marker of the first lines of a figure.
STYLES = ((DARK, "-", "o"), (LIGHT, "--", "s"), ("#4d4d4d", ":", "^"), ("#7a9a01", "-.", "D"))


def tidy(axes: Axes, direction: Literal["both", "x", "y"] = "both") -> None:
    """Leave a light grid and two spines."""
    axes.grid(color="0.92", linewidth=0.8, axis=direction)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, folder: Path, name: str, dpi: int = 130) -> Path:
    """Save as `name.svg` and `name.png`; return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    # Without dates, the same numbers give the same files.
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=dpi)
    return folder / f"{name}.png"

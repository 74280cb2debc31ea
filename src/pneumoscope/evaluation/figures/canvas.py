"""What all figures share: colours, dashes, axes, and how they are saved."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pneumoscope._quiet import hush_loggers
from pneumoscope.evaluation.figures.fonts import add_fonts

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
    with _prepare(figure):
        # Without dates, the same numbers give the same files.
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=dpi)
    return folder / f"{name}.png"


def encode(figure: Figure, dpi: int) -> bytes:
    """Return a figure as the bytes of a PNG."""
    stream = io.BytesIO()
    with _prepare(figure):
        figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


@contextmanager
def _prepare(figure: Figure) -> Iterator[None]:
    """Make a figure ready to be drawn: names of people's own may be of any script."""
    FigureCanvasAgg(figure)
    add_fonts(figure)
    # What no installed font has is drawn as a box, and bold as plain where a font has no bold: what
    # can be done about it is done.
    with warnings.catch_warnings(), hush_loggers("matplotlib.font_manager"):
        warnings.filterwarnings("ignore", r"Glyph \d+ |Matplotlib currently does not support")
        yield

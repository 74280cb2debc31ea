"""The heat-map gallery: every missed pneumonia first, then false alarms, then right answers."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from pneumoscope._probability import format_probability
from pneumoscope.datasets import read_radiograph
from pneumoscope.errors import ImageError
from pneumoscope.runtime import CAPTION, Predictor, draw_heatmap

#: At most this many of each kind of error are drawn; all missed cases are listed by name.
MAX_ERRORS = 60
_EXAMPLES = 4
_SIDE = 288
_SHEET = 24


@dataclass(frozen=True)
class GalleryTile:
    """One image with its heat-map."""

    kind: str
    path: str
    probability: float
    image: str
    """data: URI of the radiograph."""
    overlay: str
    """data: URI of the heat-map."""


def draw_gallery(
    rows: pl.DataFrame, predictor: Predictor, threshold: float, folder: Path
) -> list[GalleryTile]:
    """Draw the tiles of one stage and split, and a sheet of the first as `gallery.png` and `.svg`.

    `rows` has path, label, probability and decision.
    """
    tiles: list[GalleryTile] = []
    pictures: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]] = []
    for kind, part in _choose_rows(rows).items():
        for path, probability in part.select("path", "probability").iter_rows():
            try:
                radiograph = read_radiograph(path)
            except ImageError:
                continue  # it was readable a moment ago; a report without it is better than none
            finding = predictor.predict(radiograph)
            if finding.activation_map is None:
                continue
            overlay = draw_heatmap(
                radiograph, finding.activation_map, probability, threshold, finding.geometry
            )
            top = (1 << radiograph.bits) - 1
            plain = np.repeat((radiograph.pixels / top * 255).astype(np.uint8)[..., None], 3, 2)
            small, tinted = _shrink(plain), _shrink(overlay)
            tiles.append(GalleryTile(kind, path, probability, _encode(small), _encode(tinted)))
            if len(pictures) < _SHEET:
                pictures.append((f"{kind}\np = {format_probability(probability)}", small, tinted))
    if pictures:
        _draw_sheet(pictures, folder)
    return tiles


def _choose_rows(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return kind → rows, worst first; right answers are the surest."""
    positive, called = pl.col("label") == "PNEUMONIA", pl.col("decision") == "PNEUMONIA"
    return {
        "missed pneumonia": rows.filter(positive & ~called).sort("probability").head(MAX_ERRORS),
        "false alarm": rows.filter(~positive & called)
        .sort("probability", descending=True)
        .head(MAX_ERRORS),
        "found pneumonia": rows.filter(positive & called)
        .sort("probability", descending=True)
        .head(_EXAMPLES),
        "cleared normal": rows.filter(~positive & ~called).sort("probability").head(_EXAMPLES),
    }


def _shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image)


def _encode(picture: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _draw_sheet(
    pictures: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]], folder: Path
) -> None:
    across = 4
    down = -(-len(pictures) // across)
    figure = Figure(figsize=(4.2 * across, 2.6 * down + 0.4), layout="constrained")
    figure.suptitle(f"Radiograph and heat-map ({CAPTION})", fontsize=10)
    for place, (title, plain, overlay) in enumerate(pictures):
        for column, picture in enumerate((plain, overlay)):
            row, across_at = divmod(place, across)
            axes = figure.add_subplot(
                down, 2 * across, row * 2 * across + 2 * across_at + column + 1
            )
            axes.imshow(picture)
            axes.set_axis_off()
            if column == 0:
                axes.set_title(title, fontsize=8, loc="left")
    FigureCanvasAgg(figure)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "gallery.png", dpi=110)
    figure.savefig(folder / "gallery.svg", metadata={"Date": None})

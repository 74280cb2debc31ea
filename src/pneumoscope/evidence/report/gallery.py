"""The heat-map gallery: every missed pneumonia first, then false alarms, then right answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pneumoscope._probability import format_probability
from pneumoscope.datasets import read_radiograph
from pneumoscope.errors import ImageError
from pneumoscope.evaluation.figures.canvas import save
from pneumoscope.evidence.report.html import embed_picture, shrink
from pneumoscope.runtime import CAPTION, Predictor, WarningCode, draw_heatmap

#: Tiles of each kind in the report and on the sheet; missed cases are all listed by name.
_MOST = {
    "missed pneumonia": (60, 12),
    "false alarm": (60, 6),
    "found pneumonia": (4, 3),
    "cleared normal": (4, 3),
}
_SIDE = 288


@dataclass(frozen=True)
class GalleryTile:
    """One image with its heat-map."""

    kind: str
    path: str
    probability: float
    image: str
    """data: URI of the radiograph."""
    overlay: str | None
    """data: URI of the heat-map; None where the input gate stops the image."""


def draw_gallery(
    rows: pl.DataFrame, predictor: Predictor, threshold: float, folder: Path
) -> list[GalleryTile]:
    """Draw the tiles of one stage and split, and a sheet of the first as `gallery.png` and `.svg`.

    `rows` has path, label and probability.
    """
    tiles: list[GalleryTile] = []
    pictures: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]] = []
    for kind, part in _choose_rows(rows, threshold).items():
        drawn = 0
        for path, probability in part.select("path", "probability").iter_rows():
            try:
                radiograph = read_radiograph(path)
            except ImageError:
                continue  # it was readable a moment ago; a report without it is better than none
            finding = predictor.predict(radiograph)
            small = np.repeat(shrink(radiograph.to_grey(), _SIDE)[..., None], 3, 2)
            tinted = None
            if finding.activation_map is not None:
                overlay = draw_heatmap(
                    radiograph, finding.activation_map, probability, threshold, finding.geometry
                )
                tinted = shrink(overlay, _SIDE)
            shown = None if tinted is None else embed_picture(tinted)
            tiles.append(GalleryTile(kind, path, probability, embed_picture(small), shown))
            drawn += 1
            if tinted is not None and drawn <= _MOST[kind][1]:
                title = f"{kind}, probability {format_probability(probability)}\n{_shorten(path)}"
                pictures.append((title, small, tinted))
    if pictures:
        heading = f"Pneumonia is called from probability {format_probability(threshold)} on"
        if WarningCode.PHANTOM_MODEL in predictor.warnings:
            heading += "; the model was trained on synthetic phantoms"
        _draw_sheet(pictures, heading, folder)
    return tiles


def _choose_rows(rows: pl.DataFrame, threshold: float) -> dict[str, pl.DataFrame]:
    """Return kind → rows, worst first; right answers are the surest."""
    positive, called = pl.col("label") == "PNEUMONIA", pl.col("probability") >= threshold
    kinds = {
        "missed pneumonia": (positive & ~called, False),
        "false alarm": (~positive & called, True),
        "found pneumonia": (positive & called, True),
        "cleared normal": (~positive & ~called, False),
    }
    return {
        kind: rows.filter(wanted).sort("probability", descending=falling).head(_MOST[kind][0])
        for kind, (wanted, falling) in kinds.items()
    }


def list_cut(tiles: Sequence[GalleryTile], shown: Mapping[str, int]) -> list[str]:
    """Say which kind of error has more images than tiles."""
    kinds = Counter(tile.kind for tile in tiles)
    there = {"missed pneumonia": shown["fn"], "false alarm": shown["fp"]}
    return [
        f"Of {n} images of the kind “{kind}”, the {kinds[kind]} that are furthest off are drawn."
        for kind, n in there.items()
        if _MOST[kind][0] == kinds[kind] < n
    ]


def _shorten(path: str, most: int = 34) -> str:
    name = Path(path).name
    return name if len(name) <= most else f"{name[: most - 12]}…{name[-11:]}"


def _draw_sheet(
    pictures: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]], heading: str, folder: Path
) -> None:
    across = 3
    down = -(-len(pictures) // across)
    figure = Figure(figsize=(4.4 * across, 2.75 * down + 0.7), layout="constrained")
    legend = f"Left the radiograph, right the heat-map: an {CAPTION}."
    figure.suptitle(f"{heading}.\n{legend}", fontsize=12)
    for place, (title, plain, overlay) in enumerate(pictures):
        for column, picture in enumerate((plain, overlay)):
            row, across_at = divmod(place, across)
            axes = figure.add_subplot(
                down, 2 * across, row * 2 * across + 2 * across_at + column + 1
            )
            axes.imshow(picture)
            axes.set_axis_off()
            if column == 0:
                axes.set_title(title, fontsize=10, loc="left", parse_math=False)
    save(figure, folder, "gallery", dpi=110)

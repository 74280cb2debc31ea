"""What all pages share: their templates, and pictures inside the page itself."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from pneumoscope._probability import format_probability


def open_templates() -> Environment:
    """Return the templates; a name that a page does not know is an error, not a blank."""
    environment = Environment(
        loader=PackageLoader("pneumoscope.evidence.report"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters["probability"] = format_probability
    environment.filters["prose"] = set_prose
    return environment


def set_prose(text: str) -> Markup:
    """Return text as HTML, what stands between backticks as code."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(marked)  # escaped above # nosec B704


def embed_png(png: bytes) -> str:
    """Return a PNG as a data: URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def embed_figures(figures: dict[str, Path]) -> dict[str, str]:
    """Return title → PNG as a data: URI."""
    return {name: embed_png(figure.read_bytes()) for name, figure in figures.items()}


def embed_picture(picture: NDArray[np.uint8]) -> str:
    """Return pixels, uint8 [H, W] or [H, W, 3], as the data: URI of a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def shrink(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the picture so that it fits into a square; a smaller one as it is."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return np.asarray(image)


def make_shortener(paths: Collection[str]) -> Callable[[str], str]:
    """Return a function that names each of these images so that it can be found.

    By its file name; by its path below what they share where two have the same name, or where an
    image is a row of an array.
    """
    names = {Path(path).name for path in paths}
    if len(names) == len(paths) and not any("#" in path for path in paths):
        return lambda path: Path(path).name
    shared = os.path.commonpath([str(Path(path.split("#")[0]).absolute().parent) for path in paths])
    return lambda path: os.path.relpath(path, shared)

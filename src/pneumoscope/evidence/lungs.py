"""Lung masks of radiographs, and the check that keeps bad ones out of use.

A small network outlines the lungs as far as they show; it learned on phantoms and on its own
outlines of real images (`scripts/lungs/`), never on outlines drawn by a person. So its masks are
good enough to ask whether a classifier looks at the lungs, and not for measuring anything clinical.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_fill_holes, gaussian_filter, label

Progress = Callable[[int, int], None]

#: Pixels a side of what the network sees.
SIDE = 64
_GRAPH = Path(__file__).parent / "lungs.onnx"
_BATCH = 32
#: Width of the neighbourhood that a pixel is compared with, as a share of the side.
_NEIGHBOURHOOD = 0.12


@dataclass(frozen=True)
class LungMasks:
    """Masks of images, and which of them may be used."""

    masks: NDArray[np.bool_]
    """bool [N, size, size]."""
    reasons: tuple[str | None, ...]
    """Why the mask of an image is not used; None where it is."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """bool [N]."""
        return np.array([reason is None for reason in self.reasons], bool)


def outline_lungs(squares: NDArray[np.uint8], progress: Progress | None = None) -> LungMasks:
    """Return the lungs of resampled radiographs, uint8 [N, size, size], each mask judged."""
    masks, reasons = [], []
    for start in range(0, len(squares), 64):
        for probabilities in find_lungs(squares[start : start + 64]):
            mask = clean_mask(probabilities)
            reasons.append(judge_mask(mask, probabilities))
            masks.append(enlarge_mask(mask, squares.shape[-1]))
        if progress:
            progress(len(masks), len(squares))
    return LungMasks(np.stack(masks), tuple(reasons))


def find_lungs(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probability that a pixel shows lung, float32 [N, SIDE, SIDE].

    `squares` are resampled radiographs, uint8 [N, size, size]. The mean of the answers for the
    image and for its mirror.
    """
    small = np.stack([_shrink(square) for square in squares])
    network = _load_network()
    parts = []
    for start in range(0, len(small), _BATCH):
        planes = prepare_squares(small[start : start + _BATCH])
        both = np.concatenate([planes, planes[..., ::-1]])
        found = np.asarray(network(both)[0], np.float32)
        parts.append((found[: len(planes)] + found[len(planes) :, :, ::-1]) / 2)
    return np.concatenate(parts)


def prepare_squares(squares: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return what the network takes, float32 [N, 2, SIDE, SIDE], of grey values [N, SIDE, SIDE].

    The image standardised, and each pixel against its neighbourhood: lungs are darker than what
    surrounds them, whatever the exposure.
    """
    grey = np.asarray(squares, np.float32)
    centred = grey - grey.mean((1, 2), keepdims=True)
    whole = centred / (grey.std((1, 2), keepdims=True) + 1)
    width = (0, _NEIGHBOURHOOD * SIDE, _NEIGHBOURHOOD * SIDE)
    apart = grey - gaussian_filter(grey, width)
    spread = np.sqrt(gaussian_filter(apart**2, width))
    return np.stack([whole, apart / (spread + 4)], 1).astype(np.float32)


def clean_mask(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the mask: smoothed, the two largest parts, without holes; bool as the input."""
    smooth = gaussian_filter(probabilities, 1.0)
    parts, count = label(smooth > 0.5)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    largest = 1 + np.argsort(sizes)[::-1][:2]
    filled: NDArray[np.bool_] = binary_fill_holes(np.isin(parts, largest))
    return filled


def judge_mask(mask: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> str | None:
    """Return why a mask has not the shape of lungs; None where it has."""
    parts, count = label(mask)
    if count != 2:
        return f"{count} parts instead of two"
    share = float(mask.mean())
    if not 0.10 <= share <= 0.55:
        return f"covers {share:.0%} of the image"
    rows, columns = np.indices(mask.shape) / len(mask)
    places = [(rows[parts == n], columns[parts == n]) for n in (1, 2)]
    small, large = sorted(len(place[0]) for place in places)
    if small < 0.35 * large:
        return f"one part is {small / large:.0%} of the other"
    (one_y, one_x), (two_y, two_x) = places
    if abs(one_y.mean() - two_y.mean()) > 0.2:
        return "one part lies above the other"
    if abs(one_x.mean() - two_x.mean()) < 0.2:
        return "the parts lie one on the other"
    certainty = float(probabilities[mask].mean())
    if certainty < 0.75:
        return f"the outline is unsure ({certainty:.2f})"
    return None


def enlarge_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return a mask at another side length, its edge smooth."""
    soft = gaussian_filter(mask.astype(np.float32), 0.8)
    plane = Image.fromarray(soft).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(plane) > 0.5


def _shrink(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, np.float32)


@cache
def _load_network() -> Any:
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(_GRAPH, "CPU", hints)

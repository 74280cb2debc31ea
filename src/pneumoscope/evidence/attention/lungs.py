"""Lung masks of radiographs, and the check that keeps bad ones out of use.

A small network outlines the lungs as far as they show; it learned on phantoms and on its own
outlines of real images (`scripts/lungs/`), never on outlines drawn by a person. So its masks are
good enough to ask whether a classifier looks at the lungs, and not for measuring anything clinical.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter, label

Progress = Callable[[int, int], None]

#: Pixels a side of what the network sees.
SIDE = 64
_GRAPH = Path(__file__).parent / "lungs.onnx"
_BATCH = 32
#: Width of the neighbourhood that a pixel is compared with, as a share of the side.
_NEIGHBOURHOOD = 0.12
# What lungs look like, wide enough for one that is half hidden: share of the image, smaller part
# over larger, distance of the parts' centres as a share of the side.
_AREA = (0.10, 0.55)
_SMALLEST_PART = 0.35
_APART = 0.2
# Mean probability inside, and how much darker than around, in standard deviations: between what was
# seen of people (0.888 and more; 0.20 and more) and of noise (at most 0.838; at most 0.06).
_SURE = 0.86
_DARKER = 0.15


class MaskFault(StrEnum):
    """Why a mask is not used."""

    PARTS = "not two parts"
    AREA = "too small or too large"
    SIZES = "one part much smaller than the other"
    HEIGHTS = "one part above the other"
    SIDES = "both parts on one side"
    UNSURE = "outline unsure"
    CONTRAST = "no darker than what lies around"


@dataclass(frozen=True)
class LungMasks:
    """Masks of images, and which of them may be used."""

    masks: NDArray[np.bool_]
    """bool [N, size, size]."""
    faults: tuple[MaskFault | None, ...]
    """Why the mask of an image is not used; None where it is."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """bool [N]."""
        return np.array([fault is None for fault in self.faults], bool)


def outline_lungs(squares: NDArray[np.uint8], progress: Progress | None = None) -> LungMasks:
    """Return the lungs of resampled radiographs, uint8 [N, size, size], each mask judged."""
    masks, faults = [], []
    for start in range(0, len(squares), 64):
        part = squares[start : start + 64]
        for square, probabilities in zip(part, find_lungs(part), strict=True):
            mask = clean_mask(probabilities)
            faults.append(judge_mask(mask, probabilities, _shrink(square)))
            masks.append(enlarge_mask(mask, squares.shape[-1]))
        if progress:
            progress(len(masks), len(squares))
    return LungMasks(np.stack(masks), tuple(faults))


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


def judge_mask(
    mask: NDArray[np.bool_], probabilities: NDArray[np.float32], grey: NDArray[np.floating[Any]]
) -> MaskFault | None:
    """Return why a mask is not used; None where it has the shape of lungs, and lungs are there.

    The network knows the shape so well that it outlines lungs in noise, though it is less sure of
    them then, and they are no darker than what lies around.

    Parameters
    ----------
    grey
        Grey values of the image, as many as the mask has.
    """
    parts, count = label(mask)
    if count != 2:
        return MaskFault.PARTS
    if not _AREA[0] <= mask.mean() <= _AREA[1]:
        return MaskFault.AREA
    rows, columns = np.indices(mask.shape) / len(mask)
    one, two = parts == 1, parts == 2
    small, large = sorted((int(one.sum()), int(two.sum())))
    if small < _SMALLEST_PART * large:
        return MaskFault.SIZES
    if abs(rows[one].mean() - rows[two].mean()) > _APART:
        return MaskFault.HEIGHTS
    if abs(columns[one].mean() - columns[two].mean()) < _APART:
        return MaskFault.SIDES
    if probabilities[mask].mean() < _SURE:
        return MaskFault.UNSURE
    around = span_hull(binary_dilation(mask, iterations=2)) & ~mask
    if not grey[around].mean() - grey[mask].mean() > _DARKER * grey.std():
        return MaskFault.CONTRAST
    return None


def span_hull(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the convex hull of a mask: the lungs with heart, mediastinum and spine between."""
    from scipy.spatial import ConvexHull, QhullError

    points = np.argwhere(mask)
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):  # fewer than three points, or all in a line
        return mask.copy()
    rows, columns = np.indices(mask.shape)
    inside = np.ones(mask.shape, bool)
    for down, across, offset in hull.equations:
        inside &= down * rows + across * columns + offset <= 1e-9
    return inside


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

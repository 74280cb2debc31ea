"""What an image looks like, in 768 numbers: where its edges run, and where it is bright.

The input gate and the population check read these rather than the network: they tell a turned,
inverted or foreign image from a chest at a glance, and stay the same when the weights change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 64
_CELLS = 8
_DIRECTIONS = 8
_THUMBNAIL = 16
#: Numbers that describe an image.
LENGTH = _CELLS * _CELLS * _DIRECTIONS + _THUMBNAIL * _THUMBNAIL
_ALONG = np.arange(_SIDE) * _CELLS // _SIDE
_CELL_OF_PIXEL = _ALONG[:, None] * _CELLS + _ALONG
#: Grey levels; below this contrast an edge or a shade counts for less.
_FAINT_EDGE, _FAINT_SHADE = 0.7, 4.0


def describe(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return descriptors, float32 [N, 768], of squares, uint8 [N, size, size], of any size.

    First histograms of oriented gradients (Dalal and Triggs, CVPR 2005): 8×8 cells of 8 directions
    over the full circle, so that dark on bright differs from bright on dark, each divided by the
    contrast around it. Then a 16×16 thumbnail with mean 0 and standard deviation 1. Neither
    depends on brightness or contrast.
    """
    box = Image.Resampling.BOX
    shrunk = [np.asarray(Image.fromarray(square).resize((_SIDE, _SIDE), box)) for square in squares]
    grey = np.stack(shrunk).astype(np.float32)
    return np.concatenate([_count_directions(grey), _shade(grey)], axis=1)


def _count_directions(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 [N, 512]: the root of gradient by cell and direction, over local contrast."""
    count, cell = len(grey), _SIDE // _CELLS
    wide = np.pad(grey, ((0, 0), (1, 1), (1, 1)), "edge")
    down = wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]
    right = wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]
    length = np.hypot(right, down)
    # A direction between two bins counts in both, in shares.
    place = np.arctan2(down, right) / (2 * np.pi) * _DIRECTIONS % _DIRECTIONS
    lower = place.astype(np.intp)
    share = place - lower
    cells = np.zeros(count * _CELLS * _CELLS * _DIRECTIONS)
    first = (np.arange(count)[:, None, None] * _CELLS**2 + _CELL_OF_PIXEL) * _DIRECTIONS
    for direction, weight in ((lower, 1 - share), (lower + 1, share)):
        bins = first + direction % _DIRECTIONS
        cells += np.bincount(bins.ravel(), (length * weight).ravel(), len(cells))
    cells = cells.reshape(count, _CELLS, _CELLS, _DIRECTIONS) / cell**2
    energy = np.pad(cells.sum(-1), ((0, 0), (1, 1), (1, 1)), "edge")
    around = [energy[:, i : i + _CELLS, j : j + _CELLS] for i in range(3) for j in range(3)]
    contrast = np.mean(around, axis=0)[..., None] + _FAINT_EDGE**2
    return np.asarray(np.sqrt(cells / contrast).reshape(count, -1), np.float32)


def _shade(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 [N, 256]: a thumbnail without brightness and contrast."""
    count, step = len(grey), _SIDE // _THUMBNAIL
    tiles = grey.reshape(count, _THUMBNAIL, step, _THUMBNAIL, step).mean((2, 4)).reshape(count, -1)
    tiles = tiles - tiles.mean(1, keepdims=True)
    return np.asarray(tiles / (tiles.std(1, keepdims=True) + _FAINT_SHADE), np.float32)

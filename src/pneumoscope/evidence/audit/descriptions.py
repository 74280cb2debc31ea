"""What an image looks like in numbers that no label had a part in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_CELLS = 8
_BINS = 9
_BATCH = 32
#: Blocks with less contrast than this, in grey levels a pixel, are noise and stay short.
_FLOOR = 4.0


def describe_shapes(
    squares: NDArray[np.uint8], *, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float32]:
    """Return histograms of oriented gradients (Dalal and Triggs 2005), float32 [N, 1764].

    Eight by eight cells, nine directions without sign, blocks of two by two cells brought to length
    one: brightness and contrast fall away, and what is left is the course of edges and textures. No
    network, and so no label, had a part in it.

    Parameters
    ----------
    squares
        uint8 [N, side, side]; the side is a multiple of 8.
    """
    batches = []
    for start in range(0, len(squares), _BATCH):
        part = squares[start : start + _BATCH]
        batches.append(_normalise_blocks(_sum_directions(part), squares.shape[1]))
        if progress:
            progress(start + len(part), len(squares))
    return np.concatenate(batches)


def _sum_directions(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the gradient summed by cell and direction, float32 [n, 8, 8, 9]."""
    n, side = squares.shape[:2]
    grey = squares.astype(np.float32)
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    strength = np.hypot(across, down)
    # A direction between two bins counts for both, in proportion.
    direction = (np.arctan2(down, across) / np.pi % 1) * _BINS
    lower = np.minimum(direction.astype(np.int64), _BINS - 1)
    share = direction - lower
    place = np.arange(side) // (side // _CELLS)
    cell = (np.arange(n)[:, None, None] * _CELLS + place[:, None]) * _CELLS + place
    size = n * _CELLS**2 * _BINS
    bins = cell * _BINS + lower
    sums = np.bincount(bins.ravel(), (strength * (1 - share)).ravel(), size)
    bins = cell * _BINS + (lower + 1) % _BINS
    sums += np.bincount(bins.ravel(), (strength * share).ravel(), size)
    return sums.astype(np.float32).reshape(n, _CELLS, _CELLS, _BINS)


def _normalise_blocks(cells: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    blocks = np.concatenate(
        [cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, :-1, 1:], cells[:, 1:, 1:]], axis=-1
    )
    floor = _FLOOR * side / _CELLS
    blocks /= np.sqrt((blocks**2).sum(-1, keepdims=True) + floor**2)
    flat: NDArray[np.float32] = blocks.reshape(len(blocks), -1)
    return flat

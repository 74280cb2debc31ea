"""Near-duplicates: a 256-bit perceptual hash proposes, an aligned thumbnail correlation confirms.

A 64-bit hash cannot tell radiographs apart: all frontal chests look alike at 8×8. At 16×16 they
differ, and what is still close is compared as thumbnails over small shifts and crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from pneumoscope.images import PreprocessingSpec, Radiograph, Resampler, resample

#: Hashes at most this many bits of 256 apart are compared as thumbnails.
MAX_DISTANCE = 72
#: Thumbnails that correlate at least this well are the same image.
MIN_CORRELATION = 0.99
_HASH_SIDE = 16
_THUMB = 64
_SPEC = PreprocessingSpec(size=_THUMB, resampler=Resampler.AREA)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is remembered of an image to find its copies."""

    phash: NDArray[np.uint8]
    """256 bits as uint8 [32]."""
    thumbnail: NDArray[np.uint8]
    """uint8 [64, 64], area-averaged."""


def fingerprint(radiograph: Radiograph) -> Fingerprint:
    """Return the fingerprint of an image.

    The hash is the sign, against the median, of the lowest 16×16 coefficients of a discrete cosine
    transform (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions").
    """
    thumbnail = resample(radiograph, _SPEC)
    low = dctn(thumbnail.astype(np.float32), norm="ortho")[:_HASH_SIDE, :_HASH_SIDE].ravel()
    bits = low > np.median(low[1:])
    return Fingerprint(np.packbits(bits), thumbnail)


def find_near_duplicates(
    prints: Sequence[Fingerprint],
    *,
    max_distance: int = MAX_DISTANCE,
    min_correlation: float = MIN_CORRELATION,
) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of images that are copies of each other."""
    return [
        (i, j)
        for i, j in propose_pairs(prints, max_distance)
        if correlate_aligned(prints[i].thumbnail, prints[j].thumbnail) >= min_correlation
    ]


def propose_pairs(prints: Sequence[Fingerprint], max_distance: int) -> list[tuple[int, int]]:
    """Return the pairs whose hashes are at most `max_distance` bits apart."""
    if len(prints) < 2:
        return []
    hashes = np.stack([entry.phash for entry in prints]).view(np.uint64)
    pairs: list[tuple[int, int]] = []
    for i in range(len(hashes) - 1):
        distance = np.bitwise_count(hashes[i + 1 :] ^ hashes[i]).sum(1)
        pairs += [(i, i + 1 + int(j)) for j in np.flatnonzero(distance <= max_distance)]
    return pairs


def correlate_aligned(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the best correlation of two thumbnails over small shifts and crops, -1..1.

    Either may be a crop of the other by up to 4 % a side; brightness and contrast do not matter.
    """
    best = _correlate(one, other)
    for crop in (0.01, 0.02, 0.03, 0.04):
        for first, second in ((one, other), (other, one)):
            best = max(best, _correlate(_crop(first, crop), second))
    return best


def _crop(thumbnail: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    edge = share * _THUMB
    box = (edge, edge, _THUMB - edge, _THUMB - edge)
    cropped = Image.fromarray(thumbnail).resize(
        (_THUMB, _THUMB), Image.Resampling.BILINEAR, box=box
    )
    return np.asarray(cropped)


def _correlate(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    a = one.astype(np.float32).ravel()
    b = other.astype(np.float32).ravel()
    a -= a.mean()
    b -= b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else float(np.array_equal(one, other))

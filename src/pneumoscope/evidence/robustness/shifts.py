"""Stated shifts: what else a radiograph may look like, each at five strengths.

A shift changes the square as the network sees it, before normalisation. What is random is drawn
from the seed and the image's own pixels: an image is changed alike alone and in any batch, and at
all strengths in the same direction.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumoscope.evidence.robustness.distortions import (
    Square,
    add_margins,
    add_noise,
    blur,
    change_brightness,
    change_contrast,
    change_gamma,
    compress,
    cut_edges,
    invert,
    mask_border,
    mask_corners,
    reduce_detail,
    rotate,
    translate,
)

Change = Callable[[Square, float, np.random.Generator], Square]


@dataclass(frozen=True)
class Shift:
    """One way in which images may look otherwise, and how far."""

    name: str
    title: str
    meaning: str
    """What this is in a hospital, in a sentence."""
    unit: str
    strengths: tuple[float, float, float, float, float]
    """From barely visible to severe, in `unit`."""
    change: Change
    neutral: float | None = 0.0
    """The strength that changes nothing; None where there is none."""

    def apply(self, squares: NDArray[np.uint8], strength: float, seed: int = 0) -> Square:
        """Return changed copies of squares, uint8 [N, size, size].

        Parameters
        ----------
        strength
            A value in `unit`, such as one of `strengths`.
        """
        changed = [self.change(square, strength, _start_rng(square, seed)) for square in squares]
        return np.stack(changed) if changed else squares.copy()

    def describe(self, strength: float) -> str:
        """Return a strength with its unit, for people."""
        return f"{strength:g} {self.unit}"


_RANGE, _SIDE = "of the grey range", "of the side"

#: All shifts, in the order of tables and figures.
SHIFTS = (
    Shift(
        "noise",
        "noise",
        "Quantum mottle and detector noise: a dose too low for the child or the detector.",
        _RANGE,
        (0.01, 0.03, 0.06, 0.1, 0.2),
        add_noise,
    ),
    Shift(
        "blur",
        "blur",
        "The child moved or breathed, or a film was copied out of focus.",
        _SIDE,
        (0.003, 0.006, 0.012, 0.02, 0.035),
        blur,
    ),
    Shift(
        "flat",
        "contrast lowered",
        "Scatter without a grid, an old film, or glare on one that was photographed.",
        "of the contrast kept",
        (0.85, 0.7, 0.5, 0.3, 0.15),
        change_contrast,
        neutral=1.0,
    ),
    Shift(
        "hard",
        "contrast raised",
        "A narrow window, or the hard look of another maker's processing.",
        "times the contrast",
        (1.15, 1.35, 1.7, 2.2, 3.0),
        change_contrast,
        neutral=1.0,
    ),
    Shift(
        "gamma_dark",
        "gamma, darker",
        "Another display curve: a look-up table that was not applied, or applied twice.",
        "as exponent",
        (1.15, 1.35, 1.7, 2.2, 3.0),
        change_gamma,
        neutral=1.0,
    ),
    Shift(
        "gamma_light",
        "gamma, lighter",
        "Another display curve the other way: soft tissue and bone run together.",
        "as exponent",
        (0.87, 0.74, 0.59, 0.45, 0.33),
        change_gamma,
        neutral=1.0,
    ),
    Shift(
        "dark",
        "brightness lowered",
        "An over-exposed film, or a window set too high: the lungs drown in black.",
        _RANGE,
        (-0.05, -0.1, -0.2, -0.3, -0.4),
        change_brightness,
    ),
    Shift(
        "light",
        "brightness raised",
        "An under-exposed film, or a window set too low: the lungs are veiled.",
        _RANGE,
        (0.05, 0.1, 0.2, 0.3, 0.4),
        change_brightness,
    ),
    Shift(
        "rotation",
        "rotation",
        "The child or the cassette lay askew, to either side.",
        "degrees",
        (2, 5, 10, 20, 30),
        rotate,
    ),
    Shift(
        "translation",
        "translation",
        "The chest lies off centre, in any direction.",
        _SIDE,
        (0.02, 0.05, 0.1, 0.15, 0.25),
        translate,
    ),
    Shift(
        "close",
        "cut closer",
        "Tight collimation, or a larger child on the same detector.",
        f"{_SIDE} lost",
        (0.05, 0.1, 0.2, 0.35, 0.5),
        cut_edges,
    ),
    Shift(
        "wide",
        "cut wider",
        "Loose collimation, a smaller child, or black bars around the image.",
        f"{_SIDE} black",
        (0.05, 0.1, 0.2, 0.35, 0.5),
        add_margins,
    ),
    Shift(
        "jpeg",
        "JPEG",
        "Exported, sent by phone, or saved over and over with loss.",
        "as quality",
        (75, 50, 25, 10, 5),
        compress,
        neutral=None,
    ),
    Shift(
        "coarse",
        "down-sampling",
        "A thumbnail or a small copy was sent instead of the image.",
        "pixels a side",
        (160, 112, 80, 56, 28),
        reduce_detail,
        neutral=float("inf"),
    ),
    Shift(
        "border",
        "border masked",
        "Collimation, or a frame blackened to take names off; what the edge betrays is gone.",
        f"{_SIDE} at each edge",
        (0.02, 0.05, 0.1, 0.15, 0.2),
        mask_border,
    ),
    Shift(
        "corners",
        "corners masked",
        "Markers and burnt-in text blackened; what they betray is gone.",
        _SIDE,
        (0.05, 0.1, 0.15, 0.2, 0.3),
        mask_corners,
    ),
    Shift(
        "inversion",
        "inversion",
        "MONOCHROME1 taken for MONOCHROME2; it has one strength, so the share of images grows.",
        "of the images",
        (0.05, 0.1, 0.25, 0.5, 1.0),
        invert,
    ),
)


def _start_rng(square: Square, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(square.tobytes())])

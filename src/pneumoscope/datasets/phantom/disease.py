"""Pneumonia in a phantom: consolidation, or an interstitial pattern, and where it lies."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pneumoscope.datasets.phantom.anatomy import AERATED, Field, Tissue


class Disease(StrEnum):
    """The two patterns; the file names call them after their usual causes."""

    CONSOLIDATION = "consolidation"
    """Air spaces filled: a soft-edged opacity with air bronchograms (usual in bacteria)."""
    INTERSTITIAL = "interstitial"
    """Thickened walls: streaks and nets about the hila (usual in viruses)."""


def add_disease(
    disease: Disease, tissue: Tissue, rng: np.random.Generator
) -> tuple[Field, NDArray[np.bool_]]:
    """Return centimetres of tissue to add, float64 [H, W], and the lesion's mask, bool [H, W]."""
    if disease is Disease.CONSOLIDATION:
        return _draw_consolidation(tissue, rng)
    return _draw_interstitial(tissue, rng)


def _draw_consolidation(
    tissue: Tissue, rng: np.random.Generator
) -> tuple[Field, NDArray[np.bool_]]:
    lungs = tissue.lungs
    size = len(lungs)
    shape = np.zeros_like(lungs)
    rows, columns = np.indices(lungs.shape) / size
    places = np.argwhere(lungs > 0.6 * lungs.max())
    wobble = gaussian_filter(rng.standard_normal(lungs.shape), size / 28)
    wobble /= wobble.std()
    for _ in range(rng.integers(1, 3)):
        row, column = places[rng.integers(len(places))] / size
        across, down = rng.uniform(0.11, 0.17), rng.uniform(0.11, 0.18)
        radius = np.hypot((columns - column) / across, (rows - row) / down) + 0.16 * wobble
        shape = np.maximum(shape, 1 / (1 + np.exp((radius - 1) / 0.12)))
    # Patchy within, with dark branching airways: smooth noise along thin ridges.
    patchy = 1 + 0.16 * gaussian_filter(rng.standard_normal(lungs.shape), 3) * 3 * 3
    airways = np.abs(gaussian_filter(rng.standard_normal(lungs.shape), 5))
    airways = 1 - 0.35 * np.exp(-((airways / (0.12 * airways.std() + 1e-9)) ** 2))
    density = rng.uniform(4.6, 6.8)
    added = density * shape * np.clip(patchy, 0.5, 1.5) * airways * np.clip(lungs * 1.2, 0, 1)
    return added, (shape > 0.4) & (lungs > AERATED)


def _draw_interstitial(tissue: Tissue, rng: np.random.Generator) -> tuple[Field, NDArray[np.bool_]]:
    lungs = tissue.lungs
    size = len(lungs)
    reach = rng.uniform(0.42, 0.60)
    weight = np.exp(-((tissue.hilum_distance / reach) ** 4))
    if rng.random() < 0.35:  # one lung more than the other
        side = rng.choice([-1.0, 1.0])
        line = np.linspace(-1, 1, size)[None, :] * side
        weight = weight * (0.25 + 0.75 / (1 + np.exp(-line / 0.05)))
    # A net: the ridges of smooth noise at two scales; streaks: the same, stretched outwards.
    net = np.zeros_like(lungs)
    for scale, share in ((3.2, 1.0), (5.5, 1.0)):
        noise = gaussian_filter(rng.standard_normal(lungs.shape), scale * size / 224)
        net += share * np.exp(-((noise / (0.30 * noise.std())) ** 2))
    haze = gaussian_filter(net, 9 * size / 224)
    added = rng.uniform(1.9, 2.7) * (1.1 * net + 0.9 * haze) * weight * np.clip(lungs, 0, 1)
    return added, (weight > 0.45) & (lungs > AERATED)

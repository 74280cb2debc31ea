"""The physics: from path lengths to the grey values that a detector would give.

Primary radiation follows Beer and Lambert's law; scatter is a blurred share of it; photons are
counted (Poisson); the detector blurs; the display takes the logarithm and sets its own window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pneumoscope.datasets.phantom.anatomy import (
    AERATED,
    Body,
    Field,
    build_tissue,
    draw_body,
)
from pneumoscope.datasets.phantom.disease import Disease, add_disease

#: Linear attenuation, 1/cm, near 60 keV: water and cortical bone (NIST XCOM, rounded).
_MU_SOFT, _MU_BONE = 0.20, 0.55


@dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic radiograph."""

    pixels: NDArray[np.uint8]
    """uint8 [H, W], bright is dense."""
    lesion: NDArray[np.bool_]
    """bool [H, W]: where the disease is; all False in a normal phantom."""
    lungs: NDArray[np.bool_]
    """bool [H, W]: where the lungs show: not behind heart, mediastinum or diaphragm."""
    disease: Disease | None


def draw_phantom(
    rng: np.random.Generator,
    disease: Disease | None = None,
    *,
    body: Body | None = None,
    size: int = 224,
) -> Phantom:
    """Draw one phantom; the same generator state gives the same pixels.

    `body` draws the same patient again, in another pose and exposure.
    """
    body = body or draw_body(rng)
    tissue = build_tissue(body, rng, size)
    soft, lesion = tissue.soft, np.zeros((size, size), bool)
    if disease is not None:
        added, lesion = add_disease(disease, tissue, rng)
        soft = soft + added
    signal = _expose(soft, tissue.bone, rng)
    return Phantom(_display(signal, rng), lesion, tissue.lungs > AERATED, disease)


def _expose(soft: Field, bone: Field, rng: np.random.Generator) -> Field:
    """Return the detected signal, float64 [H, W], 1 where nothing is in the way."""
    primary = np.exp(-_MU_SOFT * soft - _MU_BONE * bone)
    size = len(soft)
    scatter = gaussian_filter(primary, size * 0.09, mode="nearest")
    share = rng.uniform(0.15, 0.35)
    intensity = (1 - share) * primary + share * scatter
    photons = 10 ** rng.uniform(3.9, 4.9)
    counted = rng.poisson(intensity * photons) / photons
    # Soft tissue is never smooth: fine anatomical noise that every patient has.
    grain = gaussian_filter(rng.standard_normal(soft.shape), rng.uniform(0.8, 1.6))
    counted = counted * np.exp(rng.uniform(0.01, 0.05) * grain)
    blurred: Field = gaussian_filter(counted, rng.uniform(0.45, 0.9))
    return blurred


def _display(signal: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the logarithm, windowed as a technician would, with collimation and marker."""
    dense = -np.log(np.maximum(signal, 1e-3))
    low, high = np.quantile(dense, [rng.uniform(0.01, 0.06), rng.uniform(0.97, 0.998)])
    shown = np.clip((dense - low) / (high - low), 0, 1) ** np.exp(rng.uniform(-0.35, 0.35))
    black, white = rng.uniform(0.0, 0.10), rng.uniform(0.84, 1.0)
    shown = black + shown * (white - black)
    size = len(shown)
    if rng.random() < 0.4:  # collimator blades leave dark borders
        left, right = rng.integers(0, size // 14, 2)
        shown[:, :left] = 0
        shown[:, size - right :] = 0
    if rng.random() < 0.4:  # a lead marker beside the shoulder
        column = rng.choice([size // 14, size - size // 7])
        row = rng.integers(size // 16, size // 6)
        shown[row : row + size // 16, column : column + size // 28] = 0.97
        shown[row + 3 : row + size // 32, column + 2 : column + size // 28 - 2] = 0.3
    grey: NDArray[np.uint8] = np.rint(shown * 255).astype(np.uint8)
    return grey

"""What comes in, in a few plain numbers: compared with those of a bundle's calibration part they
show a service that its images are no longer those that the model was set for.

All are measured on the square that the network reads, so that a file's size, format and bits count
only as far as the network sees them. A bundle keeps them as `input_*` in its `reference.npz`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.runtime.gate import InputGate

#: What `measure_inputs` gives, by name; the last only where a bundle knows its training features.
INPUTS = ("brightness", "contrast", "sharpness", "black_share", "feature_distance")
_LOOKS, _DISTANCE = INPUTS[:-1], INPUTS[-1]
#: Grey levels of 255: JPEG spreads the black of borders and of collimation over the lowest few.
MAX_BLACK = 8
_PREFIX = "input_"


def measure_images(squares: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Return how images look as the network sees them.

    `brightness` is the mean grey, 0 to 1, and `contrast` the standard deviation of the pixels, 0 to
    0.5. `sharpness` is the variance of the Laplacian (Pech-Pacheco et al. 2000; LAPV in Pertuz et
    al. 2013, doi:10.1016/j.patcog.2012.11.011): blur lowers it, and noise raises it. `black_share`
    is the share of black pixels, 0 to 1: borders, collimation, a cut, a window set too narrow.

    Parameters
    ----------
    squares
        uint8 [N, H, W], H and W at least 3.

    Returns
    -------
    Name → float64 [N], of pixels scaled to 0..1.
    """
    rows = np.array([_measure_image(square) for square in squares]).reshape(-1, len(_LOOKS))
    return dict(zip(_LOOKS, rows.T, strict=True))


def _measure_image(square: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    grey = square.astype(np.int16)  # a Laplacian of bytes lies within ±1020: nothing is rounded
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian = around - 4 * grey[1:-1, 1:-1]
    black = np.count_nonzero(square <= MAX_BLACK) / square.size
    return square.mean() / 255, square.std() / 255, laplacian.var() / 255**2, black


def measure_inputs(
    squares: NDArray[np.uint8], features: NDArray[np.float32], gate: InputGate
) -> dict[str, NDArray[np.float64]]:
    """Return how images look, and how far from the training images the network sees them.

    `feature_distance` is squared, from the subspace of the gate, and absent where it has none.

    Parameters
    ----------
    squares, features
        uint8 [N, size, size] and, of their forward pass, float32 [N, 2048].

    Returns
    -------
    Name → float64 [N], in the order of `INPUTS`.
    """
    measured = measure_images(squares)
    distances = gate.measure_features(features)
    return measured if distances is None else measured | {_DISTANCE: distances}


def replace_inputs(
    arrays: Mapping[str, NDArray[Any]],
    squares: NDArray[np.uint8],
    features: NDArray[np.float32],
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `reference.npz` with the `input_*` of these images, and no others.

    Parameters
    ----------
    arrays
        The gate's among them, where there is one; `logits` and `labels` are of these images.
    squares, features
        uint8 [N, size, size] and, of their forward pass in fp32, float32 [N, 2048].
    """
    kept = {name: array for name, array in arrays.items() if not name.startswith(_PREFIX)}
    measured = measure_inputs(squares, features, InputGate.from_reference(arrays))
    return kept | {_PREFIX + name: values.astype(np.float32) for name, values in measured.items()}


def read_inputs(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Return what a `reference.npz` holds of its images, float32 [N] by name of `INPUTS`.

    A bundle that was equipped before these were kept has none.
    """
    return {name: arrays[_PREFIX + name] for name in INPUTS if _PREFIX + name in arrays}

"""What may happen to a radiograph, each as a function of a grey square and one strength.

Strengths are physical (shares of the grey range or of the side, degrees, qualities), so that they
mean the same at any size; JPEG alone, whose blocks have 8 pixels, does not scale.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

#: uint8 [size, size].
Square = NDArray[np.uint8]

#: Pixels a side of the square to which the strength of noise refers.
NOISE_SIDE = 224
_BILINEAR = Image.Resampling.BILINEAR

# -- tone ------------------------------------------------------------------------------------------


def change_contrast(square: Square, factor: float, _: np.random.Generator) -> Square:
    """Return the square with its distances from the mean grey multiplied."""
    mean = square.mean(dtype=np.float64)
    return _to_grey(mean + (square - mean) * factor)


def change_gamma(square: Square, exponent: float, _: np.random.Generator) -> Square:
    """Return the square with its grey, 0..1, raised to an exponent: above 1 is darker."""
    return _to_grey((square / 255.0) ** exponent * 255)


def change_brightness(square: Square, share: float, _: np.random.Generator) -> Square:
    """Return the square with a share of the grey range added, cut at black and white."""
    return _to_grey(square + 255.0 * share)


def invert(square: Square, share: float, rng: np.random.Generator) -> Square:
    """Return the negative of a share of images, the others as they are."""
    return 255 - square if rng.random() < share else square.copy()


# -- sharpness -------------------------------------------------------------------------------------


def add_noise(square: Square, deviation: float, rng: np.random.Generator) -> Square:
    """Return the square with white Gaussian noise.

    Parameters
    ----------
    deviation
        Share of the grey range, in a square of `NOISE_SIDE` pixels. The same noise is weaker in
        fewer, larger pixels, which average it, and stronger in more.
    """
    scale = 255.0 * deviation * square.shape[0] / NOISE_SIDE
    return _to_grey(square + rng.normal(size=square.shape) * scale)


def blur(square: Square, deviation: float, _: np.random.Generator) -> Square:
    """Return the square blurred by a Gaussian; `deviation` is a share of the side."""
    if deviation == 0:
        return square.copy()
    sigma = deviation * square.shape[0]
    return _to_grey(gaussian_filter(square.astype(np.float32), sigma, mode="nearest"))


def reduce_detail(square: Square, pixels: float, _: np.random.Generator) -> Square:
    """Return the square as a picture of so many pixels a side would show it."""
    side = square.shape[0]
    if pixels >= side:
        return square.copy()
    small = round(pixels)
    image = Image.fromarray(square).resize((small, small), _BILINEAR)
    return np.asarray(image.resize((side, side), _BILINEAR))


def compress(square: Square, quality: float, _: np.random.Generator) -> Square:
    """Return the square as JPEG of a quality, 1..95, leaves it."""
    stream = io.BytesIO()
    Image.fromarray(square).save(stream, "JPEG", quality=round(quality))
    return np.asarray(Image.open(stream))


# -- place -----------------------------------------------------------------------------------------


def rotate(square: Square, degrees: float, rng: np.random.Generator) -> Square:
    """Return the square turned to a side that is drawn, black where nothing was."""
    turned = Image.fromarray(square).rotate(degrees * rng.choice([-1, 1]), _BILINEAR, fillcolor=0)
    return np.asarray(turned)


def translate(square: Square, share: float, rng: np.random.Generator) -> Square:
    """Return the square moved by a share of its side in a direction that is drawn."""
    side, angle = square.shape[0], rng.uniform(0, 2 * np.pi)
    right, down = share * side * np.cos(angle), share * side * np.sin(angle)
    moved = Image.fromarray(square).transform(
        (side, side),
        Image.Transform.AFFINE,
        (1, 0, -right, 0, 1, -down),
        _BILINEAR,
        fillcolor=0,
    )
    return np.asarray(moved)


def cut_edges(square: Square, share: float, _: np.random.Generator) -> Square:
    """Return the middle enlarged: a share of the side is lost, half of it at each edge."""
    side = square.shape[0]
    margin = share * side / 2
    box = (margin, margin, side - margin, side - margin)
    return np.asarray(Image.fromarray(square).resize((side, side), _BILINEAR, box=box))


def add_margins(square: Square, share: float, _: np.random.Generator) -> Square:
    """Return the whole smaller within black, which takes a share of the side."""
    side = square.shape[0]
    inner = max(1, round(side * (1 - share)))
    canvas, first = np.zeros_like(square), (side - inner) // 2
    small = np.asarray(Image.fromarray(square).resize((inner, inner), _BILINEAR))
    canvas[first : first + inner, first : first + inner] = small
    return canvas


# -- what is covered -------------------------------------------------------------------------------


def mask_border(square: Square, share: float, _: np.random.Generator) -> Square:
    """Return the square within a black frame, as wide as a share of the side."""
    width = round(share * square.shape[0])
    masked, end = np.zeros_like(square), square.shape[0] - width
    masked[width:end, width:end] = square[width:end, width:end]
    return masked


def mask_corners(square: Square, share: float, _: np.random.Generator) -> Square:
    """Return the square with four black corners, whose sides are a share of its side."""
    width = round(share * square.shape[0])
    masked, end = square.copy(), square.shape[0] - width
    for rows in (slice(width), slice(end, None)):
        for columns in (slice(width), slice(end, None)):
            masked[rows, columns] = 0
    return masked


def _to_grey(values: NDArray[np.floating[Any]]) -> Square:
    """Return uint8 from grey levels, rounded and cut to 0..255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)

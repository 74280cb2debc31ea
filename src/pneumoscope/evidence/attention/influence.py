"""Where the influence of heat-maps falls: inside the lungs, and on lesions that are known.

Shares are compared with the share of the area, which is what a map that knows nothing would give,
and with the mean map of all images, which knows only where influence usually lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.datasets.phantom import MASKS
from pneumoscope.evaluation import Interval, wilson_interval
from pneumoscope.images import Geometry, spread_over_image

_RESAMPLES = 1000
KINDS = ("missed pneumonia", "false alarm", "found pneumonia", "cleared normal")
Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]


def measure_influence(
    maps: Maps,
    masks: Masks,
    labels: NDArray[np.int64],
    called: NDArray[np.bool_],
    patients: Sequence[str | None] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the share of heat-map energy inside the lungs, by class and by outcome.

    Parameters
    ----------
    maps
        Activation maps, float32 [N, h, w]; their positive part counts, as it is drawn.
    masks
        Lungs, bool [N, size, size].
    called
        Whether the model called pneumonia, bool [N].
    """
    size = masks.shape[-1]
    wide = np.stack([_spread(plane, size) for plane in maps])
    shares = _measure_shares(wide, masks)
    mean_shares = (_find_mean_map(wide) * masks).sum((1, 2))
    areas = masks.mean((1, 2))
    ill = labels == 1
    groups = {
        "all": np.ones(len(labels), bool),
        "NORMAL": ~ill,
        "PNEUMONIA": ill,
        "missed pneumonia": ill & ~called,
        "false alarm": ~ill & called,
        "found pneumonia": ill & called,
        "cleared normal": ~ill & ~called,
    }
    names = np.array(
        [f"image {i}" if p is None else p for i, p in enumerate(patients or [None] * len(labels))]
    )
    return {
        name: _summarise(shares, mean_shares, areas, names, rows, seed)
        for name, rows in groups.items()
    }


def measure_localisation(maps: Maps, lesions: Masks) -> dict[str, Any]:
    """Return how often the maximum of a heat-map lies in the lesion, against the lesion's area.

    A point thrown at random would hit as often as the lesion has share of the area.

    Parameters
    ----------
    maps
        Activation maps, float32 [N, h, w], of images with a lesion each.
    lesions
        bool [N, size, size].
    """
    size = lesions.shape[-1]
    wide = np.stack([_spread(plane, size) for plane in maps])
    hits = np.array(
        [lesion[find_peak(plane)] for plane, lesion in zip(wide, lesions, strict=True)], bool
    )
    shares = _measure_shares(wide, lesions)
    usable = shares[np.isfinite(shares)]
    area = float(lesions.mean())
    interval = wilson_interval(int(hits.sum()), len(hits))
    assert interval is not None  # there is a lesion
    return {
        "n": len(hits),
        "hit": float(hits.mean()),
        "interval": interval.to_list(),
        "area": area,
        "times_chance": float(hits.mean()) / area,
        "energy_in_lesion": float(usable.mean()) if len(usable) else None,
    }


def read_lesion(path: str | Path, size: int) -> NDArray[np.bool_] | None:
    """Return where a phantom's lesion is, bool [size, size]; None where none is known."""
    mask = Path(path).parent.parent / MASKS / f"{Path(path).stem}.png"
    if not mask.is_file():
        return None
    with Image.open(mask) as image:
        grey = image.convert("L").resize((size, size), Image.Resampling.BOX)
    found = np.asarray(grey) > 127
    return found if found.any() else None


def find_peak(plane: NDArray[np.float32]) -> tuple[int, int]:
    """Return row and column of the maximum."""
    row, column = np.unravel_index(int(plane.argmax()), plane.shape)
    return int(row), int(column)


def _spread(plane: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return spread_over_image(plane, size, size, Geometry.STRETCH)


def _measure_shares(wide: Maps, masks: Masks) -> NDArray[np.float64]:
    """Return the share of the positive part inside each mask, NaN where nothing is positive."""
    positive = np.maximum(wide, 0).astype(np.float64)
    total = positive.sum((1, 2))
    inside = (positive * masks).sum((1, 2))
    return np.where(total > 0, inside / np.maximum(total, 1e-12), np.nan)


def _find_mean_map(wide: Maps) -> NDArray[np.float64]:
    """Return the mean of the positive parts, each image counting the same; its sum is 1."""
    positive = np.maximum(wide, 0).astype(np.float64)
    total = positive.sum((1, 2), keepdims=True)
    mean = np.where(total > 0, positive / np.maximum(total, 1e-12), 0).mean(0)
    return np.asarray(mean / max(float(mean.sum()), 1e-12))


def _summarise(
    shares: NDArray[np.float64],
    mean_shares: NDArray[np.float64],
    areas: NDArray[np.float64],
    patients: NDArray[np.str_],
    rows: NDArray[np.bool_],
    seed: int,
) -> dict[str, Any]:
    usable = rows & np.isfinite(shares)
    found: dict[str, Any] = {
        "n": int(usable.sum()),
        "without_influence": int((rows & ~usable).sum()),
        "inside": None,
        "interval": None,
        "area": None,
        "times_area": None,
        "mean_map": None,
    }
    if not usable.any():
        return found
    inside, area = float(shares[usable].mean()), float(areas[usable].mean())
    interval = _bootstrap_mean(shares[usable], patients[usable], seed)
    return found | {
        "inside": inside,
        "interval": interval and interval.to_list(),
        "area": area,
        "times_area": inside / area,
        "mean_map": float(mean_shares[usable].mean()),
    }


def _bootstrap_mean(
    values: NDArray[np.float64], patients: NDArray[np.str_], seed: int
) -> Interval | None:
    """Return the percentile interval of a mean over patients; None with fewer than two."""
    _, member = np.unique(patients, return_inverse=True)
    size = int(member.max()) + 1
    if size < 2:
        return None
    sums, counts = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(0, size, (_RESAMPLES, size))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))

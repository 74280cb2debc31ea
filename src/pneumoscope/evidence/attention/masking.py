"""What a classifier still knows when the lungs are taken out of the images, or all but the lungs.

What is removed is replaced by a smooth continuation of what stays. So no pixel of it is left, and
no sharp edge tells where it was. The shape may tell something all the same, since pneumonia changes
how much of a lung is seen; that is measured too, with the mask of another image, and alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from pneumoscope.evaluation import compute_auc, compute_metrics, delong_interval
from pneumoscope.evaluation.arrays import Labels, Scores
from pneumoscope.evaluation.paired_drop import measure_drops
from pneumoscope.evidence.attention.lungs import span_hull
from pneumoscope.evidence.classifier import Classifier

Progress = Callable[[int, int], None]
Masks = NDArray[np.bool_]

#: The outline itself may be a sign of disease: it goes with the lungs, by this share of the side.
MARGIN = 0.03
_BATCH = 64
#: What an image becomes of which nothing stays.
_NEUTRAL = 128.0


@dataclass(frozen=True)
class Condition:
    """One way of taking something out of an image."""

    name: str
    title: str
    question: str
    """What a good answer under this condition would mean."""


CONDITIONS = (
    Condition("whole", "whole image", "How well the model answers as it is used."),
    Condition(
        "lungs_removed",
        "lungs removed",
        "What the model knows from outside the lungs, and from their outline.",
    ),
    Condition(
        "others_lungs_removed",
        "as much removed, in the shape of another's lungs",
        "The same without the outline, which is that of another image; some lung stays at its rim.",
    ),
    Condition(
        "chest_removed",
        "lungs and all between them removed",
        "What the model knows from outside the chest; insensitive to errors of the mask.",
    ),
    Condition("only_lungs", "only the lungs", "What the model knows from the lungs."),
    Condition(
        "only_others_lungs",
        "only what lies in another's lungs",
        "The same without the outline.",
    ),
    Condition(
        "outline",
        "the outline alone",
        "What the shape of the mask gives away: two greys, no image.",
    ),
)


def measure_masking(
    classifier: Classifier,
    squares: NDArray[np.uint8],
    labels: Labels,
    masks: Masks,
    patients: Sequence[str | None] | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return condition → AUC, sensitivity and specificity with intervals, and the AUC that is lost.

    Thresholds are those of whole images, so that the AUC is the fair number: images with holes
    look like none that the model was trained on, and all scores may move.

    Parameters
    ----------
    squares, masks
        Resampled radiographs, uint8 [N, size, size], and their lungs, bool of the same shape.
    patients
        Of each image, None where unknown; intervals come from a bootstrap over them.
    """
    threshold = classifier.operating_points["balanced"].threshold
    others = _pair_with_others(len(squares), seed)
    greys = _find_greys(squares, masks)
    found: dict[str, Any] = {}
    whole = np.empty(0)
    done = 0
    for condition in CONDITIONS:
        logits = []
        for start in range(0, len(squares), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(squares)))
            changed = np.stack(
                [
                    apply_condition(condition.name, squares[r], masks[r], masks[others[r]], greys)
                    for r in rows
                ]
            )
            logits.append(classifier.predict_pixels(changed).logits)
            done += len(rows)
            if progress:
                progress(done, len(CONDITIONS) * len(squares))
        probabilities = classifier.calibrate(np.concatenate(logits))
        whole = probabilities if condition.name == "whole" else whole
        tree = compute_metrics(labels, probabilities, threshold, patients).to_dict()
        names = ("auc", "recall", "specificity")
        found[condition.name] = {name: tree[name] for name in names} | {
            "mean_probability": float(probabilities.mean()),
            "auc_lost": _compare(labels, whole, probabilities, threshold, patients),
            "intervals": {k: v for k, v in tree["intervals"].items() if k in names},
        }
    return {"threshold": threshold, "conditions": found, "lung_area": _judge_area(labels, masks)}


def apply_condition(
    name: str,
    square: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    other: NDArray[np.bool_],
    greys: tuple[int, int],
) -> NDArray[np.uint8]:
    """Return the image as a condition leaves it, uint8 [size, size].

    `other` is the mask of another image; `greys` fill the outline, inside and outside.
    """
    if name == "whole":
        return square
    if name == "outline":
        inside, outside = greys
        return np.where(_widen(mask), inside, outside).astype(np.uint8)
    if name == "chest_removed":
        return replace_smoothly(square, span_hull(_widen(mask)))
    wide = _widen(other if "others" in name else mask)
    return replace_smoothly(square, ~wide if name.startswith("only") else wide)


def replace_smoothly(square: NDArray[np.uint8], removed: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the image with a region replaced by a smooth continuation of the rest.

    By pulling the rest through ever coarser grids and pushing it back into the hole (Gortler et
    al. 1996, "The Lumigraph"): each removed pixel becomes a weighted mean of those that stay, near
    ones counting most. Nothing of the region has any influence.
    """
    kept = (~removed).astype(np.float32)
    filled = _push(square * kept, kept)
    return np.where(removed, np.rint(np.clip(filled, 0, 255)), square).astype(np.uint8)


def _push(values: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values where weights are 1, and what a coarser grid says where they are less.

    `values` are already multiplied by their weights.
    """
    size = len(weights)
    if size == 1:
        mean = values / weights if weights[0, 0] > 0 else np.full_like(values, _NEUTRAL)
        return np.asarray(mean, np.float32)
    half = -(-size // 2)
    coarse_values, coarse_weights = (_resize(plane, half) for plane in (values, weights))
    # A cell with a quarter of its pixels known is known: what is near must not be thinned out.
    gain = np.minimum(4, 1 / np.maximum(coarse_weights, 1e-6))
    coarse = _push(coarse_values * gain, coarse_weights * gain)
    return np.asarray(values + (1 - weights) * _resize(coarse, size), np.float32)


def _resize(plane: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    # Antialiased when shrinking, so that every pixel counts; never beyond the values it is given.
    image = Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _widen(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    radius = max(1, round(MARGIN * len(mask)))
    wide: NDArray[np.bool_] = binary_dilation(mask, iterations=radius)
    return wide


def _pair_with_others(count: int, seed: int) -> NDArray[np.int64]:
    """Return for each image another one, drawn without regard to its label."""
    order = np.random.default_rng(seed).permutation(count)
    others = np.empty(count, np.int64)
    others[order] = np.roll(order, 1)
    return others


def _find_greys(squares: NDArray[np.uint8], masks: Masks) -> tuple[int, int]:
    """Return the mean grey inside and outside of all lungs: the same for every image."""
    inside = float(np.mean([s[m].mean() for s, m in zip(squares, masks, strict=True)]))
    outside = float(np.mean([s[~m].mean() for s, m in zip(squares, masks, strict=True)]))
    return round(inside), round(outside)


def _compare(
    labels: Labels,
    whole: Scores,
    changed: Scores,
    threshold: float,
    patients: Sequence[str | None] | None,
) -> dict[str, Any] | None:
    """Return the AUC of whole images minus that of changed ones, on the same draws of patients."""
    lost = measure_drops(labels, whole, changed, threshold, patients).get("auc")
    return {"value": lost.value, "interval": lost.interval.to_list()} if lost else None


def _judge_area(labels: Labels, masks: Masks) -> dict[str, Any]:
    """Return how well the area of the lungs alone tells the classes apart, no model asked."""
    area = masks.mean((1, 2))
    interval = delong_interval(labels, -area)
    return {
        "auc_of_small_area": compute_auc(labels, -area),
        "interval": interval and interval.to_list(),
        "mean_normal": _mean(area[labels == 0]),
        "mean_pneumonia": _mean(area[labels == 1]),
    }


def _mean(values: NDArray[np.floating[Any]]) -> float | None:
    return float(values.mean()) if len(values) else None

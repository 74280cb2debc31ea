"""Fitting the input gate and the population check, from images that a bundle was trained on.

The arrays returned go into the bundle's `reference.npz`, where `runtime` finds them. The threshold
of each comes from the calibration part, never from the images that fitted it. A fit for 2,000
images takes about a minute, and about 0.4 MB.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.evidence.equipment.counterexamples import (
    SIDE,
    Square,
    crop,
    draw_thing,
    shuffle,
    turn,
    vary,
)
from pneumoscope.runtime.descriptor import describe
from pneumoscope.runtime.gate import Look, judge_looks, measure_distances

#: Share of the calibration part that each of the gate's two lines may reject.
REJECTED = 0.003
#: Share of the calibration part that the population check may flag.
FLAGGED = 0.02
#: Drawings for each changed radiograph of a kind: things differ more than radiographs do.
_THINGS = 3
_HIDDEN, _EPOCHS, _PENALTY = 64, 12, 3.0
#: Feature directions kept; what a few thousand images leave over beyond them is noise.
_RANK = 64
#: Room left above the largest distance seen, in squared units.
_ROOM = 1.25
#: How strongly the population check may lean on the examples: the inverse of ridge's penalty.
_TRUST = 0.01


class Radiographs(NamedTuple):
    """Images with what the network makes of them."""

    squares: NDArray[np.uint8]
    """uint8 [N, size, size]."""
    features: NDArray[np.float32]
    """float32 [N, 2048]."""


def fit_gate(
    squares: NDArray[np.uint8],
    features: NDArray[np.float32],
    held_squares: NDArray[np.uint8],
    held_features: NDArray[np.float32],
    *,
    others: Radiographs | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """Return the arrays `gate_*` of an input gate.

    Parameters
    ----------
    squares, features
        Of training images: uint8 [N, size, size] and float32 [N, 2048].
    held_squares, held_features
        Of the calibration part, which sets the thresholds.
    others
        Frontal chest radiographs of another population, which must pass as well; without them
        the gate also rejects some of those that look unlike the training images.
    draws
        Examples of each kind to learn from; by default twice the images, 200 to 2,000.
    """
    draws = draws or min(2000, max(200, 2 * len(squares)))
    rng = np.random.default_rng(seed)
    looks = _fit_looks(rng, squares, others.squares if others else None, draws, seed)
    odds, _ = judge_looks(describe(held_squares), *(array.astype(float) for array in looks))
    # Not above even odds, however sure of all its own the gate may be.
    threshold = min(0.0, float(np.quantile(odds, REJECTED)))
    known = np.concatenate([features, np.repeat(others.features, 2, 0)]) if others else features
    mean, basis = _find_subspace(known.astype(np.float64))
    limits = [np.quantile(measure_distances(held_features, mean, basis), 1 - REJECTED)]
    if others:
        limits.append(np.quantile(measure_distances(others.features, mean, basis), 0.99))
    return {
        "gate_hidden_weight": looks[0],
        "gate_hidden_bias": looks[1],
        "gate_output_weight": looks[2],
        "gate_output_bias": looks[3],
        "gate_threshold": np.array(threshold),
        "gate_feature_mean": mean,
        "gate_feature_basis": basis,
        "gate_feature_limit": np.array(max(limits) * _ROOM),
    }


def fit_population(
    squares: NDArray[np.uint8], held_squares: NDArray[np.uint8], others: NDArray[np.uint8]
) -> dict[str, NDArray[Any]]:
    """Return the arrays `population_*` of a population check.

    Ridge-penalised logistic regression on the descriptors, both populations weighing the same. The
    limit lies midway between the tails of the two, and never flags more of the calibration part
    than `FLAGGED`.

    Parameters
    ----------
    squares, held_squares
        Training images and calibration part, uint8 [N, size, size].
    others
        Radiographs of the other population.
    """
    from sklearn.linear_model import LogisticRegression

    described = np.concatenate([describe(squares), describe(others)])
    outside = np.arange(len(described)) >= len(squares)
    mean, scale = described.mean(0), _floor(described.std(0))
    model = LogisticRegression(C=_TRUST, max_iter=2000, class_weight="balanced")
    model.fit((described - mean) / scale, outside)
    weight = (model.coef_[0] / scale).astype(np.float32)
    own = np.quantile(describe(held_squares) @ weight, 1 - FLAGGED)
    theirs = np.quantile(describe(others) @ weight, FLAGGED)
    limit = max(own, (own + theirs) / 2)
    return {"population_weight": weight, "population_limit": np.array(limit)}


def _fit_looks(
    rng: np.random.Generator,
    squares: NDArray[np.uint8],
    others: NDArray[np.uint8] | None,
    draws: int,
    seed: int,
) -> list[NDArray[Any]]:
    """Return weights and biases of a network of one hidden layer over descriptors.

    It learns the radiographs as they are and as other machines might have made them, against the
    same inverted, turned and cropped, and against drawings of other things.
    """
    from sklearn.neural_network import MLPClassifier

    described, labels = _make_examples(rng, squares, others, draws)
    mean, scale = described.mean(0), _floor(described.std(0))
    scaled = (described - mean) / scale
    network = MLPClassifier(
        (_HIDDEN,),
        alpha=_PENALTY,
        learning_rate_init=2e-3,
        batch_size=min(256, len(scaled)),
        random_state=seed,
    )
    for _ in range(_EPOCHS):  # `fit` would warn that it could go on
        order = rng.permutation(len(scaled))
        network.partial_fit(scaled[order], labels[order], classes=np.arange(len(Look)))
    hidden, output = network.coefs_
    return [
        (hidden / scale[:, None]).astype(np.float16),
        (network.intercepts_[0] - (mean / scale) @ hidden).astype(np.float32),
        output.astype(np.float32),
        network.intercepts_[1].astype(np.float32),
    ]


def _make_examples(
    rng: np.random.Generator,
    squares: NDArray[np.uint8],
    others: NDArray[np.uint8] | None,
    draws: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return descriptors, float32 [N, 768], and the place of each one's `Look`, int64 [N]."""
    known = [_shrink(square) for square in squares]
    # The other population is smaller, yet every kind of radiograph should be met often.
    rest = [_shrink(square) for square in others] if others is not None else []
    share = 0.3 if rest else 0.0

    def pick() -> Square:
        pool = rest if rng.random() < share else known
        return pool[rng.integers(len(pool))]

    made: dict[Look, list[Square]] = {
        Look.CHEST: [pick() for _ in range(draws)] + [vary(rng, pick()) for _ in range(2 * draws)],
        Look.INVERTED: [255 - vary(rng, pick()) for _ in range(draws)],
        Look.TURNED: [turn(rng, vary(rng, pick())) for _ in range(draws)],
        Look.CROPPED: [
            crop(rng, vary(rng, pick()) if rng.random() < 0.5 else pick()) for _ in range(draws)
        ],
        Look.OTHER: [
            shuffle(rng, pick()) if rng.random() < 0.1 else draw_thing(rng)
            for _ in range(_THINGS * draws)
        ],
    }
    described = np.concatenate([describe(np.stack(made[look])) for look in Look])
    return described, np.repeat(np.arange(len(Look)), [len(made[look]) for look in Look])


def _find_subspace(
    features: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """Return the mean and the leading principal directions of features, [2048] and [rank, 2048].

    Few images span few directions: with half as many directions as images at most, what lies
    outside is still a distance and not an accident.
    """
    mean = features.mean(0)
    _, _, directions = np.linalg.svd(features - mean, full_matrices=False)
    rank = max(1, min(_RANK, len(features) // 2))
    return mean.astype(np.float32), directions[:rank].astype(np.float16)


def _shrink(square: Square) -> Square:
    return np.asarray(Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _floor(deviation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return standard deviations, none so small that noise would count for much."""
    return np.maximum(deviation, 0.02)

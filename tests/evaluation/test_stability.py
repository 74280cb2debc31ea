"""How differently a number is distributed in two samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pneumoscope.evaluation import Drift, measure_stability


def _count_by_hand(reference: list[float], current: list[float], bins: int = 10) -> float:
    """The index in plain Python: sorted values, interpolated quantiles, loops."""
    ordered = sorted(reference)
    cuts = set()
    for k in range(1, bins):
        place = k / bins * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        cuts.add(ordered[low] + (place - low) * (ordered[high] - ordered[low]))
    edges = sorted(cuts)

    def share(values: list[float], k: int) -> float:
        below = edges[k - 1] if k > 0 else -math.inf
        above = edges[k] if k < len(edges) else math.inf
        inside = sum(below < value <= above for value in values)
        return (inside + 0.5) / (len(values) + 0.5 * (len(edges) + 1))

    total = 0.0
    for k in range(len(edges) + 1):
        a, e = share(current, k), share(reference, k)
        total += (a - e) * math.log(a / e)
    return total


@pytest.mark.parametrize(
    ("shift", "ties"),
    [(0.0, False), (0.7, False), (0.3, True)],  # alike, moved, many values the same
)
def test_the_index_is_what_a_plain_count_gives(rng, shift, ties):
    before, now = rng.normal(size=400), rng.normal(shift, size=250)
    if ties:
        before, now = np.maximum(before, 0), np.maximum(now, 0)
    found = measure_stability(before, now)
    assert found.index == pytest.approx(_count_by_hand(before.tolist(), now.tolist()), rel=1e-9)
    assert found.reference.sum() == pytest.approx(1)
    assert found.n == 250


def test_two_bins_give_the_number_of_the_formula():
    # Halves against 9.5 of 11 and 1.5 of 11, half an image in each bin.
    found = measure_stability([0, 1] * 5, [0] * 9 + [1], bins=2)
    a, e = 9.5 / 11, 5.5 / 11
    assert found.index == pytest.approx((a - e) * math.log(a / e) + (e - a) * math.log((1 - a) / e))


def test_samples_of_one_population_rarely_pass_the_level_of_chance(rng):
    reference = rng.normal(size=500)
    passed = [
        found.index > found.chance
        for found in (
            measure_stability(rng.normal(size=500), rng.normal(size=120)) for _ in "x" * 400
        )
    ]
    assert sum(passed) <= 4
    assert measure_stability(reference, rng.normal(size=120)).drift is Drift.NONE


@pytest.mark.parametrize(
    ("shift", "n", "expected"),
    [
        (1.0, 50, Drift.TOO_FEW),
        (0.0, 2000, Drift.NONE),
        (0.4, 2000, Drift.WATCH),
        (1.0, 2000, Drift.ALARM),
        (1.0, 100, Drift.ALARM),
    ],
)
def test_what_an_index_says(rng, shift, n, expected):
    assert measure_stability(rng.normal(size=5000), rng.normal(shift, size=n)).drift is expected


def test_without_images_nothing_is_said_and_without_a_reference_nothing_can_be():
    assert measure_stability([1.0, 2.0], []).drift is Drift.TOO_FEW
    with pytest.raises(ValueError, match="found none"):
        measure_stability([], [1.0])

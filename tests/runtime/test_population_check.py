"""The population check: absent where a bundle has none, a threshold on a linear score elsewhere."""

from __future__ import annotations

import numpy as np

from pneumoscope.runtime.descriptor import LENGTH, describe
from pneumoscope.runtime.population import PopulationCheck


def test_a_bundle_without_the_arrays_has_no_check():
    assert PopulationCheck.from_reference({"logits": np.zeros(3)}) is None


def test_what_scores_above_the_limit_is_outside(rng):
    squares = rng.integers(0, 256, (6, 64, 64), dtype=np.uint8)
    weight = rng.normal(size=LENGTH).astype(np.float32)
    scores = describe(squares) @ weight
    check = PopulationCheck.from_reference(
        {"population_weight": weight, "population_limit": np.array(np.median(scores))}
    )
    assert check is not None
    found = [check.is_outside(square) for square in squares]
    assert found == list(scores > np.median(scores))

"""Fitting the gate and the population check on a small data set of phantoms."""

from __future__ import annotations

import numpy as np
import pytest

from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.evidence.equipment.counterexamples import (
    SIDE,
    crop,
    draw_thing,
    shuffle,
    turn,
    vary,
)
from pneumoscope.evidence.equipment.gating import Radiographs, fit_gate, fit_population
from pneumoscope.images import from_array
from pneumoscope.runtime.gate import InputGate
from pneumoscope.runtime.population import PopulationCheck

SIZE, DRAWS = 64, 60


def _draw(seed: int, count: int) -> Radiographs:
    """Phantoms with features that lie near a plane of 2048 dimensions."""
    rng = np.random.default_rng(seed)
    diseases = [Disease.CONSOLIDATION if index % 2 else None for index in range(count)]
    squares = np.stack([draw_phantom(rng, disease, size=SIZE).pixels for disease in diseases])
    directions = np.random.default_rng(0).normal(size=(2, 2048))
    features = rng.normal(size=(count, 2)) @ directions + rng.normal(size=(count, 2048)) * 0.1
    return Radiographs(squares, features.astype(np.float32))


TRAINED, HELD, NEW = _draw(1, 80), _draw(2, 40), _draw(3, 40)


@pytest.fixture(scope="module")
def arrays():
    return fit_gate(*TRAINED, *HELD, draws=DRAWS)


@pytest.fixture(scope="module")
def gate(arrays):
    return InputGate.from_reference(arrays)


def _count_rejected(gate, squares, features=NEW.features):
    reasons = [
        gate.check(from_array(square, "MONOCHROME2"), square, row)
        for square, row in zip(squares, features, strict=False)
    ]
    return sum(reason is not None for reason in reasons)


def test_new_images_of_the_same_kind_pass(gate):
    assert _count_rejected(gate, NEW.squares) <= 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda squares: 255 - squares,
        lambda squares: np.rot90(squares, 1, (1, 2)),
        lambda squares: np.rot90(squares, 2, (1, 2)),
        lambda squares: np.random.default_rng(0).integers(0, 256, squares.shape, np.uint8),
    ],
    ids=["inverted", "on its side", "on its head", "noise"],
)
def test_spoilt_images_are_rejected(gate, spoil):
    assert _count_rejected(gate, np.ascontiguousarray(spoil(NEW.squares))) >= 36


def test_features_far_from_those_of_training_are_rejected(gate):
    strange = np.random.default_rng(9).normal(size=NEW.features.shape).astype(np.float32) * 3
    reason = gate.check(from_array(NEW.squares[0], "MONOCHROME2"), NEW.squares[0], strange[0])
    assert reason is not None
    assert "never seen" in reason
    assert _count_rejected(gate, NEW.squares, strange) == 40


def test_the_same_seed_fits_the_same_gate(arrays):
    again = fit_gate(*TRAINED, *HELD, draws=DRAWS)
    assert all(np.array_equal(again[name], array) for name, array in arrays.items())


def test_the_arrays_are_small_numbers(arrays):
    assert sum(array.nbytes for array in arrays.values()) < 1.5 * 2**20
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_a_handful_of_images_is_enough_to_fit():
    few = Radiographs(TRAINED.squares[:4], TRAINED.features[:4])
    gate = InputGate.from_reference(fit_gate(*few, *few, draws=10))
    assert _count_rejected(gate, few.squares, few.features) <= 1


def test_another_population_passes_the_gate_that_was_shown_it():
    others = Radiographs(NEW.squares[:20] // 2 + 60, NEW.features[:20] + 0.5)
    gate = InputGate.from_reference(fit_gate(*TRAINED, *HELD, others=others, draws=DRAWS))
    assert _count_rejected(gate, others.squares, others.features) <= 1


def test_the_population_check_knows_the_population_it_was_shown():
    narrow = np.stack([np.pad(s[:, 12:52], ((0, 0), (12, 12))) for s in NEW.squares])
    check = PopulationCheck.from_reference(
        fit_population(TRAINED.squares, HELD.squares, narrow[:20])
    )
    assert check is not None
    flagged = [check.is_outside(square) for square in narrow[20:]]
    assert np.mean(flagged) >= 0.8
    own = [check.is_outside(square) for square in NEW.squares]
    assert np.mean(own) <= 0.1


def test_two_populations_far_apart_have_the_limit_between_them():
    # Nothing of the calibration part comes near the other population: none of it is flagged.
    check = PopulationCheck.from_reference(
        fit_population(TRAINED.squares, HELD.squares, np.ascontiguousarray(NEW.squares[:, ::-1]))
    )
    assert check is not None
    assert not any(check.is_outside(square) for square in HELD.squares)
    assert all(check.is_outside(square) for square in NEW.squares[:, ::-1])


@pytest.mark.parametrize("change", [vary, turn, crop, shuffle])
def test_changed_radiographs_keep_size_and_type(rng, change):
    square = draw_phantom(rng, None, size=SIDE).pixels
    changed = change(rng, square)
    assert changed.shape == (SIDE, SIDE)
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, square)


def test_drawn_things_are_squares_of_all_kinds():
    rng = np.random.default_rng(4)
    things = [draw_thing(rng) for _ in range(60)]
    assert all(thing.shape == (SIDE, SIDE) and thing.dtype == np.uint8 for thing in things)
    assert len({thing.tobytes() for thing in things}) == 60

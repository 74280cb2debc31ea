"""Shifts change a radiograph as stated: alike each time, further with strength, and no more."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.evidence.robustness.distortions import add_noise, blur, rotate
from pneumoscope.evidence.robustness.shifts import SHIFTS

BY_NAME = {shift.name: shift for shift in SHIFTS}
SQUARES = st.integers(32, 48).flatmap(
    lambda side: arrays(np.uint8, (2, side, side), elements=st.integers(0, 255))
)
each_shift = pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
#: Each pixel moves one way, and further with strength, whatever the image.
TONES = ("noise", "flat", "hard", "gamma_dark", "gamma_light", "dark", "light", "border", "corners",
         "inversion")  # fmt: skip


def _measure(shift, squares, strength):
    changed = shift.apply(squares, strength).astype(np.int64)
    return np.abs(changed - squares)


@pytest.fixture(scope="module")
def chests():
    rng = np.random.default_rng(5)
    kinds = [None, Disease.CONSOLIDATION] * 2
    return np.stack([draw_phantom(rng, disease, size=128).pixels for disease in kinds])


@each_shift
@given(squares=SQUARES, level=st.integers(0, 4), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_shape_and_type_stay_and_the_same_seed_gives_the_same(shift, squares, level, seed):
    before = squares.copy()
    changed = shift.apply(squares, shift.strengths[level], seed)
    assert changed.shape == squares.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(squares, before)
    assert np.array_equal(changed, shift.apply(squares, shift.strengths[level], seed))


@pytest.mark.parametrize(
    "shift", [s for s in SHIFTS if s.neutral is not None], ids=lambda shift: shift.name
)
@given(squares=SQUARES)
@settings(max_examples=8, deadline=None)
def test_at_its_neutral_strength_a_shift_changes_nothing(shift, squares):
    assert np.array_equal(shift.apply(squares, shift.neutral), squares)


@pytest.mark.parametrize("name", TONES)
@given(squares=SQUARES)
@settings(max_examples=10, deadline=None)
def test_a_stronger_shift_moves_each_pixel_at_least_as_far(name, squares):
    shift = BY_NAME[name]
    moves = [_measure(shift, squares, strength) for strength in shift.strengths]
    assert all((one <= other).all() for one, other in pairwise(moves))


@each_shift
def test_a_stronger_shift_leaves_a_chest_further_from_itself(shift, chests):
    moves = [np.sqrt((_measure(shift, chests, s) ** 2).mean()) for s in shift.strengths]
    assert moves == sorted(moves)
    assert moves[-1] > 5


@each_shift
def test_an_image_is_changed_alike_alone_and_among_others(shift, chests):
    strength = shift.strengths[3]
    together = shift.apply(chests, strength, seed=3)
    assert np.array_equal(shift.apply(chests[2:3], strength, seed=3)[0], together[2])
    assert np.array_equal(shift.apply(chests[::-1], strength, seed=3), together[::-1])


@pytest.mark.parametrize("name", ["noise", "rotation", "translation", "inversion"])
def test_another_seed_draws_another_change(name, chests):
    shift = BY_NAME[name]
    drawn = {shift.apply(chests, shift.strengths[3], seed).tobytes() for seed in range(8)}
    assert len(drawn) > 1


def test_the_first_strength_is_hardly_seen_and_the_last_is_severe(chests):
    for name in ("noise", "blur", "flat", "jpeg", "coarse"):
        shift = BY_NAME[name]
        first, last = (_measure(shift, chests, s).mean() for s in shift.strengths[::4])
        assert first < 16
        assert last > 2 * first, name


@pytest.mark.parametrize("name", ["blur", "rotation", "translation", "close", "wide", "border"])
def test_strengths_mean_the_same_at_any_size(name, chests):
    """Shifting and shrinking commute."""
    shift, strength = BY_NAME[name], BY_NAME[name].strengths[3]
    small = chests.reshape(4, 64, 2, 64, 2).mean((2, 4)).astype(np.uint8)
    # The same draws for both sizes, whatever their pixels.
    rngs = np.random.default_rng(0), np.random.default_rng(0)
    one = np.stack([shift.change(square, strength, rngs[0]) for square in chests])
    other = np.stack([shift.change(square, strength, rngs[1]) for square in small])
    shrunk = one.reshape(4, 64, 2, 64, 2).mean((2, 4))
    plain = np.abs(small - shrunk).mean()
    assert np.abs(other - shrunk).mean() < max(3.0, plain / 4)


def test_noise_of_a_strength_has_that_deviation_at_224_pixels():
    grey = np.full((224, 224), 128, np.uint8)
    changed = add_noise(grey, 0.1, np.random.default_rng(0))
    assert changed.std() == pytest.approx(25.5, rel=0.02)
    # Half as many pixels a side, each the mean of four: half the noise.
    small = add_noise(grey[:112, :112], 0.1, np.random.default_rng(0))
    assert small.std() == pytest.approx(12.75, rel=0.02)


def test_a_blurred_edge_is_the_integral_of_the_gaussian_that_it_states():
    edge = np.repeat(np.repeat([[0, 255]], 100, axis=1), 200, axis=0).astype(np.uint8)
    row = blur(edge, 0.02, np.random.default_rng(0))[100]
    distance = np.arange(200) - 99.5
    assert row / 255 == pytest.approx(norm.cdf(distance / 4), abs=0.01)


def test_a_turn_is_to_either_side():
    point = np.zeros((101, 101), np.uint8)
    point[10, 50] = 255
    columns = {
        int(rotate(point, 20, np.random.default_rng(seed)).max(0).argmax()) for seed in range(10)
    }
    assert len(columns) == 2
    assert sum(columns) == pytest.approx(100, abs=1)


def test_inversion_is_of_a_share_of_images_and_nested():
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 255, (400, 8, 8), np.uint8)
    shift = BY_NAME["inversion"]
    inverted = [(shift.apply(squares, s) != squares).any((1, 2)) for s in (0.25, 0.5, 1.0)]
    assert inverted[0].mean() == pytest.approx(0.25, abs=0.07)
    assert (inverted[0] <= inverted[1]).all()
    assert inverted[2].all()
    assert np.array_equal(shift.apply(squares, 1.0), 255 - squares)


def test_the_reference_tells_every_shift_as_it_is():
    page = (Path(__file__).parents[2] / "docs/reference/robustness.md").read_text(encoding="utf-8")
    for shift in SHIFTS:
        strengths = ", ".join(f"{strength:g}" for strength in shift.strengths)
        row = f"| `{shift.name}`: {shift.title} | {shift.meaning} | {strengths} | {shift.unit} |"
        assert row in page


def test_every_shift_is_told_in_words():
    assert len(BY_NAME) == len(SHIFTS) == 17
    for shift in SHIFTS:
        assert shift.meaning.endswith(".")
        assert len(set(shift.strengths)) == 5
        assert shift.describe(shift.strengths[0]).startswith(f"{shift.strengths[0]:g} ")

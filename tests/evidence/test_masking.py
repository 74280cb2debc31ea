"""What is removed from an image leaves no trace, and what a model knows without it is measured."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.bundle import OperatingPointInfo
from pneumoscope.evidence.attention.masking import (
    CONDITIONS,
    apply_condition,
    measure_masking,
    replace_smoothly,
)

SIZE = 32
seeds = st.integers(0, 2**32 - 1)


def _two_lungs(size=SIZE):
    mask = np.zeros((size, size), bool)
    mask[size // 4 : 3 * size // 4, size // 8 : 3 * size // 8] = True
    mask[size // 4 : 3 * size // 4, 5 * size // 8 : 7 * size // 8] = True
    return mask


# -- replacing ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_nothing_removed_has_any_influence_and_nothing_kept_changes(seed):
    rng = np.random.default_rng(seed)
    square = rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    removed = rng.random((SIZE, SIZE)) < rng.random()
    other = np.where(removed, rng.integers(0, 256, square.shape), square).astype(np.uint8)
    filled = replace_smoothly(square, removed)
    np.testing.assert_array_equal(filled, replace_smoothly(other, removed))
    np.testing.assert_array_equal(filled[~removed], square[~removed])


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(0, 255))
def test_a_hole_in_a_flat_image_is_filled_without_a_trace(seed, value):
    removed = np.random.default_rng(seed).random((SIZE, SIZE)) < 0.6
    square = np.where(removed, 255 - value, value).astype(np.uint8)
    if removed.all():
        return
    np.testing.assert_array_equal(replace_smoothly(square, removed), np.full_like(square, value))


def test_a_fill_stays_within_what_surrounds_it():
    square = np.full((SIZE, SIZE), 100, np.uint8)
    square[:, SIZE // 2 :] = 140
    filled = replace_smoothly(square, _two_lungs())
    assert filled.min() >= 100
    assert filled.max() <= 140


def test_an_image_removed_as_a_whole_is_flat_grey():
    filled = replace_smoothly(np.arange(64, dtype=np.uint8).reshape(8, 8), np.ones((8, 8), bool))
    assert len(np.unique(filled)) == 1


# -- conditions -----------------------------------------------------------------------------------


def _apply(name, square, mask=None, other=None):
    mask = _two_lungs() if mask is None else mask
    return apply_condition(name, square, mask, mask if other is None else other, (40, 160))


def test_lungs_and_all_else_are_told_apart(rng):
    square = rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    mask = _two_lungs()
    without, only = _apply("lungs_removed", square), _apply("only_lungs", square)
    assert (without[~mask] == square[~mask]).mean() > 0.7  # but for the margin
    assert (without[mask] == square[mask]).mean() < 0.1
    np.testing.assert_array_equal(only[mask], square[mask])
    np.testing.assert_array_equal(_apply("whole", square), square)


def test_no_pixel_between_the_lungs_is_left_without_the_chest(rng):
    square = rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    other = square.copy()
    other[SIZE // 4 : 3 * SIZE // 4, SIZE // 8 : 7 * SIZE // 8] = 0
    np.testing.assert_array_equal(_apply("chest_removed", square), _apply("chest_removed", other))


def test_the_outline_alone_shows_nothing_of_the_image(rng):
    one, two = rng.integers(0, 256, (2, SIZE, SIZE), dtype=np.uint8)
    np.testing.assert_array_equal(_apply("outline", one), _apply("outline", two))
    assert set(np.unique(_apply("outline", one))) == {40, 160}


def test_another_mask_decides_where_it_is_asked_for(rng):
    square = rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    other = np.zeros((SIZE, SIZE), bool)
    other[10:20, 10:20] = True
    for name in ("others_lungs_removed", "only_others_lungs"):
        plain = _apply(name.replace("others_", "").replace("_others", ""), square, mask=other)
        np.testing.assert_array_equal(_apply(name, square, other=other), plain)


# -- measuring ------------------------------------------------------------------------------------


class _Reader:
    """Answers from the mean of a region: a model whose knowledge is known."""

    def __init__(self, region):
        self.region = region
        self.operating_points = {"balanced": OperatingPointInfo(threshold=0.5, target="x")}

    def predict_pixels(self, squares):
        means = squares[:, self.region].mean(1)
        return SimpleNamespace(logits=((means - 128) / 10).astype(np.float32))

    def calibrate(self, logits):
        return 1 / (1 + np.exp(-logits.astype(np.float64)))


@pytest.fixture
def signs(rng):
    """Images that show the label twice: within the lungs, and in a corner."""
    labels = np.arange(60) % 2
    squares = rng.integers(100, 130, (60, SIZE, SIZE)).astype(np.uint8)
    squares[:, _two_lungs()] += (60 * labels)[:, None].astype(np.uint8)
    squares[:, :3, :3] += (60 * labels)[:, None, None].astype(np.uint8)
    return squares, labels, np.repeat(_two_lungs()[None], 60, 0)


def test_a_model_that_reads_a_corner_is_found_out(signs):
    squares, labels, masks = signs
    corner = np.zeros((SIZE, SIZE), bool)
    corner[:3, :3] = True
    found = measure_masking(_Reader(corner), squares, labels, masks)["conditions"]
    for name in ("whole", "lungs_removed", "chest_removed"):
        assert found[name]["auc"] == pytest.approx(1)


def test_a_model_that_reads_the_lungs_needs_them(signs):
    squares, labels, masks = signs
    found = measure_masking(_Reader(_two_lungs()), squares, labels, masks)["conditions"]
    assert found["whole"]["auc"] == pytest.approx(1)
    assert found["only_lungs"]["auc"] == pytest.approx(1)
    assert found["lungs_removed"]["auc"] < 0.75
    assert set(found) == {condition.name for condition in CONDITIONS}
    low, high = found["lungs_removed"]["intervals"]["auc"]
    assert low <= found["lungs_removed"]["auc"] <= high
    lost = found["lungs_removed"]["auc_lost"]
    assert lost["value"] == pytest.approx(1 - found["lungs_removed"]["auc"])
    assert 0 < lost["interval"][0] < lost["value"] < lost["interval"][1]
    assert found["only_lungs"]["auc_lost"]["value"] == pytest.approx(0)


def test_a_shape_that_tells_the_label_is_found_out(signs):
    squares, labels, masks = signs
    masks = masks.copy()
    masks[labels == 1, : SIZE // 2] = False  # half a lung is seen in the sick
    found = measure_masking(_Reader(_two_lungs()), squares, labels, masks)
    assert found["lung_area"]["auc_of_small_area"] == pytest.approx(1)
    assert found["lung_area"]["mean_pneumonia"] < found["lung_area"]["mean_normal"]
    assert abs(found["conditions"]["outline"]["auc"] - 0.5) == pytest.approx(0.5)


def test_progress_reaches_its_end(signs):
    squares, labels, masks = signs
    said = []
    measure_masking(
        _Reader(_two_lungs()), squares, labels, masks, progress=lambda *at: said.append(at)
    )
    assert said[-1] == (60 * len(CONDITIONS), 60 * len(CONDITIONS))
    assert said == sorted(said)

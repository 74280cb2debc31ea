"""Lungs are found on phantoms, and a mask without their shape is not used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.datasets.phantom import Disease, draw_phantom
from pneumoscope.evidence.attention.lungs import (
    SIDE,
    MaskFault,
    clean_mask,
    enlarge_mask,
    find_lungs,
    judge_mask,
    outline_lungs,
    span_hull,
)


def _draw(disease, count, seed):
    return [draw_phantom(np.random.default_rng([seed, i]), disease) for i in range(count)]


def _stack(phantoms):
    return np.stack([phantom.pixels for phantom in phantoms])


def _two_ellipses(size=SIDE, widths=(0.12, 0.12), centres=(0.3, 0.7), heights=(0.5, 0.5)):
    rows, columns = np.indices((size, size)) / size
    mask = np.zeros((size, size), bool)
    for width, centre, height in zip(widths, centres, heights, strict=True):
        mask |= ((columns - centre) / width) ** 2 + ((rows - height) / 0.3) ** 2 < 1
    return mask


@pytest.mark.parametrize("disease", [None, *Disease])
def test_masks_agree_with_the_lungs_of_phantoms_never_trained_on(disease):
    phantoms = _draw(disease, 6, seed=5)
    found = outline_lungs(_stack(phantoms))
    assert found.usable.all()
    for mask, phantom in zip(found.masks, phantoms, strict=True):
        overlap = 2 * (mask & phantom.lungs).sum() / (mask.sum() + phantom.lungs.sum())
        assert overlap > 0.85


def test_probabilities_are_probabilities_and_do_not_depend_on_the_batch():
    squares = _stack(_draw(None, 3, seed=6))
    together = find_lungs(squares)
    assert together.shape == (3, SIDE, SIDE)
    assert together.dtype == np.float32
    assert together.min() >= 0
    assert together.max() <= 1
    np.testing.assert_allclose(find_lungs(squares[1:2])[0], together[1], atol=1e-4)


def test_a_mirrored_image_has_the_mirrored_mask_to_a_pixel():
    squares = _stack(_draw(None, 2, seed=7))
    one = outline_lungs(squares).masks
    two = outline_lungs(squares[..., ::-1].copy()).masks[..., ::-1]
    assert 2 * (one & two).sum() / (one.sum() + two.sum()) > 0.98


@pytest.mark.parametrize("value", [0, 127, 255])
def test_an_empty_image_has_no_mask_that_is_used(value):
    found = outline_lungs(np.full((1, 224, 224), value, np.uint8))
    assert found.faults[0] is not None


def test_noise_has_no_mask_that_is_used(rng):
    found = outline_lungs(rng.integers(0, 256, (4, 224, 224), dtype=np.uint8))
    assert not found.usable.any()


SURE = np.ones((SIDE, SIDE), np.float32)


def _shade(mask):
    """Return an image whose lungs are dark."""
    return np.where(mask, 50.0, 150.0)


@pytest.mark.parametrize(
    ("mask", "fault"),
    [
        (_two_ellipses(), None),
        (np.zeros((SIDE, SIDE), bool), MaskFault.PARTS),
        (_two_ellipses(widths=(0.3, 0.3)), MaskFault.PARTS),  # grown together
        (_two_ellipses(widths=(0.03, 0.03)), MaskFault.AREA),
        (_two_ellipses(widths=(0.2, 0.04)), MaskFault.SIZES),
        (_two_ellipses(heights=(0.35, 0.65)), MaskFault.HEIGHTS),
        (_two_ellipses(widths=(0.08, 0.08), centres=(0.41, 0.6)), MaskFault.SIDES),
    ],
)
def test_a_mask_without_the_shape_of_lungs_is_told(mask, fault):
    assert judge_mask(mask, SURE, _shade(mask)) is fault


def test_parts_as_bright_as_what_lies_around_are_no_lungs(rng):
    mask = _two_ellipses()
    assert judge_mask(mask, SURE, rng.normal(size=mask.shape)) is MaskFault.CONTRAST
    assert judge_mask(mask, SURE, -_shade(mask)) is MaskFault.CONTRAST


def test_an_unsure_outline_is_told():
    assert judge_mask(_two_ellipses(), SURE * 0.6, _shade(_two_ellipses())) is MaskFault.UNSURE


def test_cleaning_keeps_the_two_largest_parts_and_fills_holes():
    probabilities = _two_ellipses().astype(np.float32)
    probabilities[5:8, 5:8] = 1  # a third part
    probabilities[30:33, 18:20] = 0  # a hole
    mask = clean_mask(probabilities)
    assert not mask[6, 6]
    assert mask[31, 19]
    assert judge_mask(mask, SURE, _shade(mask)) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_cleaning_never_leaves_more_than_two_parts(seed, share):
    from scipy.ndimage import gaussian_filter, label

    noise = gaussian_filter(np.random.default_rng(seed).random((SIDE, SIDE)), 1.5)
    mask = clean_mask((noise > np.quantile(noise, share)).astype(np.float32))
    assert mask.dtype == bool
    assert label(mask)[1] <= 2


@pytest.mark.parametrize("size", [32, 224, 500])
def test_an_enlarged_mask_covers_the_same_share(size):
    mask = _two_ellipses()
    assert enlarge_mask(mask, size).mean() == pytest.approx(mask.mean(), rel=0.05)


def test_the_hull_covers_both_lungs_and_what_lies_between():
    mask = _two_ellipses()
    hull = span_hull(mask)
    assert (hull >= mask).all()
    assert hull[SIDE // 2, SIDE // 2]
    assert not hull[0, 0]
    np.testing.assert_array_equal(span_hull(hull), hull)


@pytest.mark.parametrize("places", [[], [(3, 3)], [(1, 1), (2, 2), (3, 3)]])
def test_a_mask_too_small_for_a_hull_is_its_own(places):
    mask = np.zeros((SIDE, SIDE), bool)
    for place in places:
        mask[place] = True
    np.testing.assert_array_equal(span_hull(mask), mask)

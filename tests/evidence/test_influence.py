"""Shares of influence against shares of area, on maps whose influence is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.evidence.attention.influence import KINDS, measure_influence, measure_localisation

SIZE = 70


def _spot(row, column):
    plane = np.full((7, 7), -1, np.float32)
    plane[row, column] = 2
    return plane


def _region(row, column):
    """Return what the spot covers, with room for interpolation."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[max(0, row * 10 - 10) : row * 10 + 20, max(0, column * 10 - 10) : column * 10 + 20] = True
    return mask


def _measure(maps, masks, labels=None, called=None, patients=None):
    n = len(maps)
    labels = np.arange(n) % 2 if labels is None else labels
    called = labels == 1 if called is None else called
    return measure_influence(maps, masks, labels, called, patients)


def test_influence_within_the_mask_is_all_of_it():
    maps = np.stack([_spot(3, 2), _spot(3, 5)] * 4)
    masks = np.stack([_region(3, 2), _region(3, 5)] * 4)
    found = _measure(maps, masks)["all"]
    assert found["inside"] == pytest.approx(1, abs=0.01)
    assert found["area"] == pytest.approx(0.09 * 10 * 10 / 49, rel=0.5)
    assert found["times_area"] == pytest.approx(1 / found["area"], rel=0.02)
    assert found["mean_map"] == pytest.approx(0.5, abs=0.05)  # half the maps are the others'


def test_a_map_that_knows_nothing_has_the_share_of_the_area():
    maps = np.ones((10, 7, 7), np.float32)
    masks = np.repeat(_region(3, 3)[None], 10, 0)
    found = _measure(maps, masks)["all"]
    assert found["times_area"] == pytest.approx(1, abs=1e-6)


def test_maps_without_positive_influence_are_counted_apart():
    maps = np.stack([_spot(3, 3), -np.ones((7, 7), np.float32)] * 3)
    found = _measure(maps, np.repeat(_region(3, 3)[None], 6, 0))
    assert (found["all"]["n"], found["all"]["without_influence"]) == (3, 3)
    assert found["PNEUMONIA"]["inside"] is None
    assert found["NORMAL"]["inside"] == pytest.approx(1, abs=0.01)


def test_each_image_is_in_one_class_and_one_outcome():
    labels = np.array([0, 0, 1, 1, 1, 0])
    called = np.array([True, False, True, False, True, False])
    maps = np.repeat(_spot(2, 2)[None], 6, 0)
    found = _measure(maps, np.repeat(_region(2, 2)[None], 6, 0), labels, called)
    assert [found[kind]["n"] for kind in KINDS] == [1, 1, 2, 2]
    assert found["NORMAL"]["n"] + found["PNEUMONIA"]["n"] == found["all"]["n"] == 6


def test_images_of_one_patient_widen_the_interval(rng):
    maps = rng.normal(size=(40, 7, 7)).astype(np.float32)
    maps[20:] = maps[:20]
    masks = np.repeat(_region(3, 3)[None], 40, 0)
    patients = [f"p{i % 20}" for i in range(40)]
    low, high = _measure(maps, masks)["all"]["interval"]
    wide_low, wide_high = _measure(maps, masks, patients=patients)["all"]["interval"]
    assert wide_high - wide_low > 1.2 * (high - low)
    assert wide_low < _measure(maps, masks)["all"]["inside"] < wide_high


def test_a_peak_in_the_lesion_is_a_hit_and_one_beside_it_is_none():
    maps = np.stack([_spot(3, 3)] * 3 + [_spot(6, 0)])
    lesions = np.repeat(_region(3, 3)[None], 4, 0)
    found = measure_localisation(maps, lesions)
    assert found["hit"] == 0.75
    assert found["n"] == 4
    assert found["times_chance"] == pytest.approx(0.75 / lesions[0].mean())
    assert found["interval"][0] < 0.75 < found["interval"][1]
    assert found["energy_in_lesion"] == pytest.approx(0.75, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_shares_lie_between_nothing_and_all_and_do_not_depend_on_scale(seed):
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(6, 7, 7)).astype(np.float32)
    masks = rng.random((6, SIZE, SIZE)) < rng.random()
    one, two = _measure(maps, masks)["all"], _measure(maps * 7, masks)["all"]
    if one["inside"] is not None:
        assert 0 <= one["inside"] <= 1
        assert one["inside"] == pytest.approx(two["inside"], abs=1e-5)

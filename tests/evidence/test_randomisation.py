"""Heat-maps under random weights: what is randomised, and how alike maps are measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pneumoscope.bundle import WEIGHTS, pack_tensors, read_bundle, view_tensors, write_files
from pneumoscope.errors import BundleError
from pneumoscope.evidence.attention.randomisation import (
    MEASURES,
    STAGES,
    compare_maps,
    measure_randomisation,
    randomise,
)

maps_of = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(size=(2, 3, 7, 7)).astype(np.float32)
)


def _tensors():
    return {
        "conv1.weight": np.full((64, 3, 7, 7), 9, np.float16),
        "bn1.weight": np.full(64, 9, np.float16),
        "bn1.bias": np.full(64, 9, np.float16),
        "bn1.running_mean": np.full(64, 9, np.float16),
        "bn1.running_var": np.full(64, 9, np.float16),
        "bn1.num_batches_tracked": np.array([9], np.int64),
        "fc.weight": np.full((1, 2048), 9, np.float32),
        "fc.bias": np.full(1, 9, np.float32),
    }


# -- weights --------------------------------------------------------------------------------------


def test_only_the_named_layers_are_randomised(rng):
    tensors = _tensors()
    randomise(tensors, ("fc.",), rng)
    assert (tensors["conv1.weight"] == 9).all()
    assert np.abs(tensors["fc.weight"]).max() < 1
    assert tensors["fc.bias"] == 0


def test_batch_norm_becomes_the_identity_and_kernels_keep_the_size_of_signals(rng):
    tensors = _tensors()
    randomise(tensors, ("conv1.", "bn1."), rng)
    assert (tensors["bn1.weight"] == 1).all()
    assert (tensors["bn1.running_var"] == 1).all()
    assert (tensors["bn1.bias"] == 0).all()
    assert (tensors["bn1.running_mean"] == 0).all()
    assert tensors["bn1.num_batches_tracked"] == 9
    assert tensors["conv1.weight"].std() == pytest.approx(np.sqrt(2 / (64 * 49)), rel=0.05)


def test_tensors_seen_in_a_file_are_those_packed_and_writing_moves_nothing():
    tensors = _tensors()
    packed, places = pack_tensors(tensors)
    data = bytearray(packed)
    views = view_tensors(data)
    assert set(views) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(views[name], tensor)
    views["fc.weight"][...] = 5
    place = places["fc.weight"]
    changed = np.frombuffer(data[place.offset : place.offset + place.length], np.float32)
    assert (changed == 5).all()
    del views
    assert len(data) == len(packed)


@pytest.mark.parametrize("data", [b"", b"\x05\0\0\0\0\0\0\0[1,2]", b"\xff" * 40])
def test_no_safetensors_file_is_said_to_be_none(data):
    with pytest.raises(ValueError, match="safetensors"):
        view_tensors(bytearray(data))


# -- likeness -------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(maps_of)
def test_likeness_is_symmetric_bounded_and_one_for_the_same(pair):
    one, two = pair
    there, back, same = compare_maps(one, two), compare_maps(two, one), compare_maps(one, one)
    for name in MEASURES:
        np.testing.assert_allclose(there[name], back[name], atol=1e-6)
        np.testing.assert_allclose(same[name], 1, atol=1e-6)
        assert (np.abs(there[name]) <= 1 + 1e-9).all()


@settings(max_examples=20, deadline=None)
@given(maps_of)
def test_rank_correlation_is_that_of_scipy(pair):
    one, two = pair
    found = compare_maps(one, two)["spearman"]
    wanted = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, two, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_likeness_does_not_depend_on_scale_and_sees_a_change_of_sign(rng):
    one = rng.normal(size=(4, 7, 7)).astype(np.float32)
    for values in compare_maps(one, 1000 * one).values():
        np.testing.assert_allclose(values, 1, atol=1e-5)
    turned = compare_maps(one, -one)
    np.testing.assert_allclose(turned["spearman"], -1)
    np.testing.assert_allclose(turned["spearman_absolute"], 1)


def test_flat_maps_are_like_nothing_and_raise_nothing():
    flat = np.zeros((1, 7, 7), np.float32)
    spot = flat.copy()
    spot[0, 3, 3] = 1
    assert compare_maps(flat, spot)["spearman"] == 0


# -- the cascade ----------------------------------------------------------------------------------


def test_maps_change_with_the_weights(bundle, tmp_path, monkeypatch, rng):
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path))
    opened = read_bundle(bundle)
    squares = rng.integers(0, 256, (4, 64, 64), dtype=np.uint8)
    said = []
    found = measure_randomisation(
        opened, squares, draws=1, progress=lambda done, total: said.append((done, total))
    )
    assert [stage["name"] for stage in found["stages"]] == [name for name, _ in STAGES]
    for stage in found["stages"]:
        for name in MEASURES:
            assert -1 <= stage[name]["low"] <= stage[name]["mean"] <= stage[name]["high"] <= 1
    assert found["stages"][-1]["spearman"]["mean"] < 0.9
    assert said[-1] == (1 + len(STAGES), 1 + len(STAGES))
    assert not (tmp_path / "compiled").exists()  # nobody will start these weights again
    assert measure_randomisation(opened, squares, draws=1) == found


def test_a_bundle_without_a_resnets_layers_is_refused(bundle, tmp_path):
    opened = read_bundle(bundle)
    files = {name: opened.file(name) for name in opened.info.files}
    files[WEIGHTS] = pack_tensors({"fc.weight": np.ones((1, 4), np.float32)})[0]
    odd = write_files(tmp_path / "odd", opened.info, files)
    with pytest.raises(BundleError, match="no layer layer4"):
        measure_randomisation(odd, np.zeros((2, 64, 64), np.uint8))

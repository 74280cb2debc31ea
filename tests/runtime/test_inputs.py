"""What comes in, in numbers: as SciPy has them, as findings carry them, as a bundle keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import pneumoscope
from pneumoscope.bundle import REFERENCE, find_shipped_bundle, pack_arrays, read_bundle, write_files
from pneumoscope.datasets.phantom import draw_phantom
from pneumoscope.images import read, resample
from pneumoscope.runtime import (
    INPUTS,
    Decision,
    Finding,
    Status,
    measure_images,
    read_inputs,
    replace_inputs,
)

LOOKS = INPUTS[:-1]


@pytest.fixture
def squares(rng):
    return rng.integers(0, 256, (5, 24, 20), dtype=np.uint8)


@pytest.fixture(scope="module")
def images(phantoms):
    return sorted((phantoms / "NORMAL").iterdir())[:4]


@pytest.fixture(scope="module")
def gated(bundle, tmp_path_factory):
    """The bundle with a gate that knows three directions of features, and objects to nothing."""
    from pneumoscope.runtime.descriptor import LENGTH

    opened, rng = read_bundle(bundle), np.random.default_rng(2)
    arrays = opened.reference() | {
        "gate_hidden_weight": np.zeros((LENGTH, 2), np.float16),
        "gate_hidden_bias": np.zeros(2, np.float32),
        "gate_output_weight": np.zeros((2, 5), np.float32),
        "gate_output_bias": np.zeros(5, np.float32),
        "gate_threshold": np.array(-50.0),
        "gate_feature_mean": rng.random(2048).astype(np.float32),
        "gate_feature_basis": np.eye(3, 2048, dtype=np.float16),
        "gate_feature_limit": np.array(1e9),
    }
    files = {name: opened.file(name) for name in opened.info.files}
    out = tmp_path_factory.mktemp("gated") / "bundle"
    return write_files(out, opened.info, files | {REFERENCE: pack_arrays(arrays)})


# -- the numbers ----------------------------------------------------------------------------------


def test_numbers_are_those_of_scipy(squares):
    found = measure_images(squares)
    assert tuple(found) == LOOKS
    for row, square in enumerate(squares):
        values = square / 255
        inner = ndimage.laplace(values)[1:-1, 1:-1]
        histogram = np.bincount(square.ravel(), minlength=256) / square.size
        expected = [values.mean(), values.std(), inner.var(), histogram[:9].sum()]
        assert [found[name][row] for name in LOOKS] == pytest.approx(expected, rel=1e-9)


def test_the_largest_steps_do_not_overflow():
    board = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
    assert measure_images(board[None])["sharpness"] == pytest.approx([16.0])


@pytest.mark.parametrize(
    ("spoil", "name", "sign"),
    [
        (lambda s: s // 2 + 120, "brightness", 1),
        (lambda s: s // 2, "contrast", -1),
        (lambda s: ndimage.gaussian_filter(s, 1), "sharpness", -1),
        (lambda s: np.pad(s[20:-20, 20:-20], 20), "black_share", 1),  # a border
    ],
)
def test_each_number_moves_with_what_it_is_called_after(rng, spoil, name, sign):
    phantom = draw_phantom(rng, None, size=128).pixels
    before, after = measure_images(np.stack([phantom, spoil(phantom)]))[name]
    assert np.sign(after - before) == sign


def test_nothing_is_measured_of_no_images():
    found = measure_images(np.empty((0, 8, 8), np.uint8))
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(LOOKS, (0,))


# -- findings -------------------------------------------------------------------------------------


def test_a_finding_carries_what_the_network_was_shown(gated, images):
    predictor = pneumoscope.load(gated.path)
    square = resample(read(images[0]), predictor.preprocessing)
    arrays = gated.reference()
    features = predictor.predict_pixels(square[None]).features[0].astype(float)
    centred = features - arrays["gate_feature_mean"]
    found = predictor.predict(images[0]).inputs
    assert tuple(found) == INPUTS
    assert all(type(value) is float for value in found.values())
    assert found["brightness"] == pytest.approx(square.mean() / 255)
    assert found["feature_distance"] == pytest.approx((centred[3:] ** 2).sum(), rel=1e-4)


def test_one_image_has_the_same_numbers_alone_and_among_others(gated, images):
    predictor = pneumoscope.load(gated.path)
    for path, finding in zip(images, predictor.predict_many(images), strict=True):
        assert finding.inputs == pytest.approx(predictor.predict(path).inputs, rel=1e-4)


def test_an_image_that_the_gate_rejects_is_measured_too(bundle):
    finding = pneumoscope.load(bundle).predict(np.zeros((99, 99), np.uint8), "MONOCHROME2")
    assert finding.decision is Decision.REJECTED
    assert finding.inputs == {"brightness": 0, "contrast": 0, "sharpness": 0, "black_share": 1}


def test_what_cannot_be_read_has_no_numbers(bundle):
    (finding,) = pneumoscope.load(bundle).predict_many([b"no image"])
    assert finding.status is Status.ERROR
    assert finding.inputs is None


def test_the_record_does_not_hold_them(bundle, images):
    finding = pneumoscope.load(bundle).predict(images[0])
    assert finding.inputs
    assert finding.to_record().keys() == Finding("x", Status.ERROR).to_record().keys()
    assert "inputs" not in finding.to_record()


# -- the bundle -----------------------------------------------------------------------------------


def test_a_bundle_without_them_answers_and_says_that_it_has_none(bundle, images):
    assert read_inputs(read_bundle(bundle).reference()) == {}
    finding = pneumoscope.load(bundle).predict(images[0])
    assert finding.status is Status.OK
    assert tuple(finding.inputs) == LOOKS  # no gate, no distance


def test_what_is_kept_is_what_the_findings_of_the_same_images_carry(gated, images):
    predictor = pneumoscope.load(gated.path)
    squares = np.stack([resample(read(path), predictor.preprocessing) for path in images])
    features = predictor.predict_pixels(squares).features
    kept = read_inputs(replace_inputs(gated.reference(), squares, features))
    findings = [predictor.predict(path) for path in images]
    assert tuple(kept) == INPUTS
    for name, values in kept.items():
        assert values.dtype == np.float32
        assert values == pytest.approx([found.inputs[name] for found in findings], rel=1e-4)


def test_numbers_of_other_images_do_not_stay(squares):
    before = {"labels": np.ones(5), "input_contrast": np.zeros(9), "input_unknown": np.zeros(9)}
    after = replace_inputs(before, squares, np.zeros((5, 2048), np.float32))
    assert after.keys() == {"labels", *(f"input_{name}" for name in LOOKS)}
    assert after["input_contrast"].shape == (5,)


def test_the_model_in_the_box_knows_its_inputs():
    shipped = find_shipped_bundle()
    if shipped is None:
        pytest.skip("this version brings no model")
    arrays = read_bundle(shipped).reference()
    kept = read_inputs(arrays)
    assert tuple(kept) == INPUTS
    assert {values.shape for values in kept.values()} == {arrays["logits"].shape}
    assert all(np.isfinite(values).all() for values in kept.values())
    # The gate was set to reject no more than 0.3 % of these images by their distance.
    assert (kept["feature_distance"] > arrays["gate_feature_limit"]).mean() <= 0.003

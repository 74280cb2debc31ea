"""The input gate: what it rejects at once, and that it never fails."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from pneumoscope.datasets.phantom import draw_phantom
from pneumoscope.images import PreprocessingSpec, from_array, resample
from pneumoscope.runtime.descriptor import LENGTH, describe
from pneumoscope.runtime.gate import InputGate, Look, judge_looks

FEATURES = np.zeros(2048, np.float32)
SPEC = PreprocessingSpec(size=64)


def _make_arrays(threshold=-50.0, limit=1e9):
    """Statistics drawn at random, which pass everything unless a threshold says otherwise."""
    rng = np.random.default_rng(5)
    return {
        "gate_hidden_weight": rng.normal(size=(LENGTH, 8)).astype(np.float16),
        "gate_hidden_bias": rng.normal(size=8).astype(np.float32),
        "gate_output_weight": rng.normal(size=(8, len(Look))).astype(np.float32) / 100,
        "gate_output_bias": rng.normal(size=len(Look)).astype(np.float32),
        "gate_threshold": np.array(threshold),
        "gate_feature_mean": np.zeros(2048, np.float32),
        "gate_feature_basis": np.eye(3, 2048, dtype=np.float16),
        "gate_feature_limit": np.array(limit),
    }


PLAIN = InputGate.from_reference({})
FITTED = InputGate.from_reference(_make_arrays())


@pytest.fixture
def phantom(rng):
    return draw_phantom(rng, None, size=256).pixels


def _check(gate, array, interpretation="MONOCHROME2", features=FEATURES, bits=None):
    radiograph = from_array(array, interpretation, bits=bits)
    return gate.check(radiograph, resample(radiograph, SPEC), features)


@pytest.mark.parametrize("gate", [PLAIN, FITTED], ids=["plain", "fitted"])
def test_a_radiograph_passes(gate, phantom):
    assert _check(gate, phantom) is None


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"modality": "DX", "view": "PA"}, None),
        ({"modality": "CR", "view": "AP"}, None),
        ({"modality": "OT", "view": ""}, None),  # says nothing
        ({"modality": None, "view": None}, None),
        ({"modality": "CT", "view": None}, "is CT, not a radiograph"),
        ({"modality": " mr ", "view": None}, "is MR, not a radiograph"),
        ({"modality": "DX", "view": "LL"}, "the view is LL"),
        ({"modality": "CR", "view": "Lateral"}, "the view is LATERAL"),
    ],
)
def test_what_a_header_says_counts(phantom, stated, reason):
    radiograph = dataclasses.replace(from_array(phantom, "MONOCHROME2"), **stated)
    found = PLAIN.check(radiograph, resample(radiograph, SPEC), FEATURES)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: p[:48, :48], "has 48×48 pixels"),
        (lambda p: p[:256, :63], "has 63×256 pixels"),
        (lambda p: np.tile(p, (1, 5)), "a strip of 1280×256"),
        (lambda p: np.full_like(p, 0), "is blank"),
        (lambda p: np.full_like(p, 255), "is blank"),
        (lambda p: p // 16 + 100, "is blank"),  # no contrast left
        (lambda p: p // 5, "too dark"),
        (lambda p: 255 - p // 5, "too bright"),
    ],
)
def test_plain_faults_are_named(phantom, spoil, reason):
    found = _check(PLAIN, np.ascontiguousarray(spoil(phantom)))
    assert found is not None
    assert reason in found


def test_colour_is_rejected_but_not_grey_stored_as_colour(phantom):
    grey = np.stack([phantom] * 3, axis=-1)
    assert _check(PLAIN, grey, "RGB") is None
    tinted = (grey * np.array([1.0, 0.8, 0.5])).astype(np.uint8)
    assert "in colour" in str(_check(PLAIN, tinted, "RGB"))


def test_twelve_bits_get_the_answer_of_eight(phantom):
    deep = phantom.astype(np.uint16) * 16
    assert _check(PLAIN, deep, bits=12) is None
    assert "too dark" in str(_check(PLAIN, deep // 5, bits=12))


def test_one_sentence_says_what_is_wanted(phantom):
    gate = InputGate.from_reference(_make_arrays(threshold=50.0))
    reason = _check(gate, phantom)
    assert reason is not None
    assert reason.endswith(".")
    assert reason.count(".") == 1


def test_strange_features_are_rejected(phantom):
    gate = InputGate.from_reference(_make_arrays(limit=4.0))
    near, far = np.zeros((2, 2048), np.float32)
    near[0], far[2000] = 100, 3  # within the subspace and outside it
    assert _check(gate, phantom, features=near) is None
    assert "never seen" in str(_check(gate, phantom, features=far))


def test_what_an_image_looks_like_is_the_largest_output_besides_chest():
    weight, bias = np.zeros((LENGTH, 4)), np.zeros(4)
    outputs = np.array([3.0, 0.0, 0.0, 2.0, 1.0])
    odds, looks = judge_looks(
        np.zeros((2, LENGTH), np.float32), weight, bias, np.zeros((4, 5)), outputs
    )
    assert looks == [Look.CROPPED] * 2
    assert odds == pytest.approx(3 - np.log(np.exp(outputs[1:]).sum()))


def test_brightness_and_contrast_do_not_change_the_descriptor(phantom):
    changed = (phantom * 0.6 + 40).astype(np.uint8)
    plain, other = describe(np.stack([phantom, changed]))
    assert np.corrcoef(plain, other)[0, 1] > 0.995


def test_one_image_is_described_alike_at_different_sizes(phantom):
    radiograph = from_array(phantom, "MONOCHROME2")
    sizes = [resample(radiograph, PreprocessingSpec(size=size)) for size in (64, 96, 224)]
    small, middle, large = (describe(square[None])[0] for square in sizes)
    assert np.corrcoef(small, large)[0, 1] > 0.97
    assert np.corrcoef(middle, large)[0, 1] > 0.97


@given(
    array=arrays_of.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 80), st.integers(1, 80)),
    ),
    features=arrays_of.arrays(
        np.float32, 2048, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
    ),
)
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_the_check_never_raises(array, features):
    reason = _check(FITTED, array, features=features)
    assert reason is None or reason.endswith(".")

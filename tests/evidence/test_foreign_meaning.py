"""What a model answers becomes one logit of pneumonia, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit, softmax

from pneumoscope.bundle import Calibration
from pneumoscope.errors import ModelError
from pneumoscope.evidence.foreign.description import Meaning, OutputDescription
from pneumoscope.evidence.foreign.meaning import check_count, convert_to_logits


def _read(values, meaning, index=None):
    output = OutputDescription(meaning=Meaning(meaning), index=index)
    numbers = np.asarray(values, np.float64)
    return convert_to_logits(numbers.reshape(len(numbers), -1), output, "The output 'y'")


def _probability(values, meaning, index=None):
    return Calibration().apply(_read(values, meaning, index))


@pytest.fixture
def scores(rng):
    return rng.normal(0, 4, (50, 3)).astype(np.float32)


def test_a_logit_is_what_it_is(scores):
    np.testing.assert_array_equal(_read(scores[:, 0], "logit"), scores[:, 0])
    np.testing.assert_array_equal(_read(scores, "logit", 2), scores[:, 2])
    np.testing.assert_array_equal(_read(scores[:, 0], "logit_of_normal"), -scores[:, 0])


def test_a_probability_comes_back_as_it_was(scores):
    p = expit(scores)
    np.testing.assert_allclose(_probability(p[:, 0], "probability"), p[:, 0], rtol=1e-6)
    np.testing.assert_allclose(_probability(p, "probability", 1), p[:, 1], rtol=1e-6)
    inverted = _probability(p[:, 0], "probability_of_normal")
    np.testing.assert_allclose(inverted, 1 - p[:, 0].astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize("index", [0, 2, [0, 2], [1]])
def test_classes_go_through_the_softmax(scores, index):
    wanted = softmax(scores.astype(np.float64), 1)[:, np.atleast_1d(index)].sum(1)
    np.testing.assert_allclose(_probability(scores, "class_logits", index), wanted, rtol=1e-9)
    shares = softmax(scores, 1)
    np.testing.assert_allclose(
        _probability(shares, "class_probabilities", index), wanted, rtol=1e-4
    )


def test_two_logits_differ_by_the_logit(scores):
    found = _read(scores[:, :2], "class_logits", 1)
    np.testing.assert_allclose(found, scores[:, 1].astype(float) - scores[:, 0], rtol=1e-9)


@given(arrays(np.float32, st.integers(2, 20), elements=st.floats(0, 1, width=32)))
def test_probabilities_keep_their_order_and_stay_finite(p):
    for meaning, sign in (("probability", 1), ("probability_of_normal", -1)):
        found = _read(p, meaning)
        assert np.isfinite(found).all()
        order = np.argsort(p, kind="stable")
        assert (np.diff(sign * found[order]) >= 0).all()
        inner = (p > 0) & (p < 1)
        wanted = sign * logit(p[inner].astype(np.float64))
        np.testing.assert_allclose(found[inner], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "meaning", "index", "sentence"),
    [
        ([0.2, 3.2], "probability", None, "from 0.2 to 3.2, probability takes 0 to 1: is it logit"),
        ([-0.3, 0.2], "probability_of_normal", None, "from -0.3 to 0.2"),
        ([[3.0, -2.0]], "class_probabilities", 1, "is it class_logits"),
        ([[0.9, 0.8]], "class_probabilities", 1, "with sum 1.7, class_probabilities sum to 1"),
        ([np.nan, 1.0], "logit", None, "not finite"),
        ([[0.0, np.inf]], "class_logits", 0, "not finite"),
    ],
)
def test_what_a_number_cannot_be_is_refused(values, meaning, index, sentence):
    with pytest.raises(ModelError, match=sentence):
        _read(values, meaning, index)


def test_rounding_is_no_reason_to_refuse():
    assert np.isfinite(_read([1.00001, -0.00001], "probability")).all()


@pytest.mark.parametrize(
    ("meaning", "index", "count", "sentence"),
    [
        ("logit", 3, 3, "index is 3, but the output has 3 numbers an image: allowed are 0 to 2"),
        ("logit", None, 2, "say with output.index which is pneumonia's"),
        ("class_logits", 0, 1, "leaves none for NORMAL"),
        ("class_logits", [0, 1], 2, "leaves none for NORMAL"),
    ],
)  # fmt: skip
def test_a_place_that_the_output_has_not_is_refused(meaning, index, count, sentence):
    with pytest.raises(ModelError, match=sentence):
        check_count(OutputDescription(meaning=Meaning(meaning), index=index), count, "the output")

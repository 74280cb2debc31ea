"""A calibration is drawn towards a sample as far as the sample warrants, and no further."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from pneumoscope.evaluation import FittedCalibration, update_calibration

OLD = FittedCalibration(0.7, 2.5)


def draw(seed, n, old=OLD, slope=1.0, shift=0.0):
    """Return labels and logits for which the old log-odds, changed so, are right."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, n)
    odds = slope * (logits / old.temperature + old.bias) + shift
    return (rng.random(n) < expit(odds)).astype(np.int64), logits


def odds(calibration, logits):
    return logits / calibration.temperature + calibration.bias


def test_without_images_nothing_moves():
    found = update_calibration(np.empty(0, np.int64), np.empty(0), OLD)
    assert found == pytest.approx(OLD)


def test_a_right_calibration_hardly_moves():
    labels, logits = draw(0, 4000)
    found = update_calibration(labels, logits, OLD)
    change = expit(odds(found, logits)) - expit(odds(OLD, logits))
    assert np.abs(change).max() < 0.03


@pytest.mark.parametrize("offset", [-3.0, 1.5, 4.0])
def test_logits_shifted_by_a_constant_are_brought_back(offset):
    labels, logits = draw(1, 4000)
    plain = update_calibration(labels, logits, OLD)
    moved = update_calibration(labels, logits + offset, OLD)
    change = expit(odds(moved, logits + offset)) - expit(odds(plain, logits))
    assert np.abs(change).max() < 0.03


def test_another_slope_and_shift_are_found_in_many_images():
    labels, logits = draw(2, 20000, slope=0.5, shift=-1.0)
    found = update_calibration(labels, logits, OLD)
    assert OLD.temperature / found.temperature == pytest.approx(0.5, abs=0.03)
    assert found.bias - 0.5 * OLD.bias == pytest.approx(-1.0, abs=0.1)


def test_weak_priors_give_the_maximum_likelihood_of_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    labels, logits = draw(3, 500, slope=0.6, shift=0.5)
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], labels)
    found = update_calibration(labels, logits, OLD, slope_spread=1e4, shift_spread=1e4)
    assert 1 / found.temperature == pytest.approx(float(oracle.coef_[0, 0]), rel=1e-3)
    assert found.bias == pytest.approx(float(oracle.intercept_[0]), rel=1e-3)


def test_few_images_move_it_less_than_many_of_the_same():
    labels, logits = draw(4, 30, shift=-3)
    few = update_calibration(labels, logits, OLD)
    many = update_calibration(np.tile(labels, 50), np.tile(logits, 50), OLD)
    base = np.mean(expit(odds(OLD, logits)))
    assert abs(np.mean(expit(odds(few, logits))) - base) < abs(
        np.mean(expit(odds(many, logits))) - base
    )


@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(0.01, 100), st.floats(-30, 30))
def test_the_order_of_images_never_changes(seed, n, temperature, bias):
    rng = np.random.default_rng(seed)
    labels, logits = rng.integers(0, 2, n), rng.normal(0, 10, n)
    found = update_calibration(labels, logits, FittedCalibration(temperature, bias))
    assert 0 < found.temperature < np.inf
    assert np.isfinite(found.bias)


def test_classes_that_lie_apart_or_the_wrong_way_round_stay_finite():
    logits = np.linspace(-50, 50, 60)
    for labels in (logits > 0, logits < 0):
        found = update_calibration(labels.astype(np.int64), logits, OLD)
        assert np.isfinite(found).all()

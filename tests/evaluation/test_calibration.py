"""Calibration, against scikit-learn's implementation of the same method."""

import numpy as np
import pytest
from sklearn.calibration import _SigmoidCalibration

from pneumoscope.evaluation import fit_calibration


def draw(seed, *, n=400, apart=2.0, noise=0.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    logits = rng.normal((labels * 2 - 1) * apart, 2.0)
    return np.where(rng.random(n) < noise, 1 - labels, labels), logits


@pytest.mark.parametrize(
    "case",
    [
        {"seed": 0},
        {"seed": 1, "noise": 0.1},  # wrong labels
        {"seed": 2, "apart": 30.0},  # classes without overlap
        {"seed": 3, "n": 24},
    ],
)
def test_the_fit_is_that_of_scikit_learn(case):
    labels, logits = draw(**case)
    oracle = _SigmoidCalibration().fit(logits, labels)
    fitted = fit_calibration(labels, logits)
    ours = 1 / (1 + np.exp(-(logits / fitted.temperature + fitted.bias)))
    assert ours == pytest.approx(oracle.predict(logits), abs=2e-3)


def test_probabilities_hold_at_the_share_of_the_sample():
    labels, logits = draw(5, n=4000)
    fitted = fit_calibration(labels, logits)
    probabilities = 1 / (1 + np.exp(-(logits / fitted.temperature + fitted.bias)))
    assert probabilities.mean() == pytest.approx(labels.mean(), abs=2e-3)


def test_scores_that_point_the_wrong_way_are_left_alone():
    labels, logits = draw(6)
    assert fit_calibration(labels, -logits) == (1.0, 0.0)
    assert fit_calibration(labels, np.zeros(len(labels))) == (1.0, 0.0)

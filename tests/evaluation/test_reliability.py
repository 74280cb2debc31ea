"""Calibration judged, against scikit-learn and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from pneumoscope.evaluation import (
    bin_probabilities,
    compute_calibration_error,
    fit_calibration_line,
    fit_temperature,
)


def _draw(rng, n=600, slope=1.0, shift=0.0):
    """Return labels, and probabilities whose logits are right but for slope and shift."""
    logits = rng.normal(0.5, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    return labels, 1 / (1 + np.exp(-(logits - shift) / slope))


@pytest.mark.parametrize("equal_mass", [True, False])
def test_bins_are_those_of_scikit_learn(rng, equal_mass):
    labels, probabilities = _draw(rng)
    strategy = "quantile" if equal_mass else "uniform"
    observed, given = calibration_curve(labels, probabilities, n_bins=10, strategy=strategy)
    bins = bin_probabilities(labels, probabilities, equal_mass=equal_mass)
    assert [b.observed for b in bins] == pytest.approx(observed)
    assert [b.mean_probability for b in bins] == pytest.approx(given)
    assert sum(b.n for b in bins) == 600
    assert all(b.interval.low <= b.observed <= b.interval.high for b in bins)
    assert all(b.low <= b.mean_probability <= b.high for b in bins)


def test_equal_probabilities_make_one_bin():
    (only,) = bin_probabilities(np.array([0, 1, 1]), np.full(3, 0.4))
    assert (only.n, only.observed, only.low, only.high) == (3, 2 / 3, 0.4, 0.4)


def test_the_calibration_error_is_the_weighted_mean_of_the_bins(rng):
    labels, probabilities = _draw(rng, slope=0.5)
    for equal_mass in (True, False):
        bins = bin_probabilities(labels, probabilities, equal_mass=equal_mass)
        expected = sum(b.n * abs(b.observed - b.mean_probability) for b in bins) / 600
        found = compute_calibration_error(labels, probabilities, equal_mass=equal_mass)
        assert found.value == pytest.approx(expected)
        assert 0 <= found.interval.low <= found.interval.high


def test_the_error_of_right_probabilities_is_not_told_from_none(rng):
    """Percentiles of a bootstrap would lie above the truth nearly always."""
    held = sum(
        compute_calibration_error(*_draw(rng, n=200)).interval.low <= 0.01 for _ in range(60)
    )
    assert held / 60 >= 0.9


def test_overconfidence_is_told_from_none(rng):
    interval = compute_calibration_error(*_draw(rng, n=2000, slope=0.4)).interval
    assert interval.low > 0.03


@pytest.mark.parametrize(("slope", "shift"), [(1, 0), (0.5, 0), (1, 1.0), (2, -0.5)])
def test_the_line_is_that_of_statsmodels(rng, slope, shift):
    labels, probabilities = _draw(rng, slope=slope, shift=shift)
    logits = np.log(probabilities / (1 - probabilities))
    patients = np.arange(600) // 3
    found = fit_calibration_line(labels, probabilities, [f"p{i}" for i in patients])
    fitted = sm.GLM(labels, sm.add_constant(logits), sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": patients}
    )
    assert (found.intercept, found.slope) == pytest.approx(tuple(fitted.params), abs=1e-6)
    ends = fitted.conf_int()
    for row, name in enumerate(("intercept", "slope")):
        assert found.intervals[name].to_list() == pytest.approx(list(ends[row]), abs=1e-5)
    large = sm.GLM(labels, np.ones(600), sm.families.Binomial(), offset=logits).fit()
    assert found.in_the_large == pytest.approx(large.params[0], abs=1e-6)


def test_the_line_knows_what_is_wrong(rng):
    right = fit_calibration_line(*_draw(rng, n=4000))
    assert right.intervals["slope"].low < 1 < right.intervals["slope"].high
    extreme = fit_calibration_line(*_draw(rng, n=4000, slope=0.5))
    assert extreme.slope == pytest.approx(0.5, abs=0.06)
    low = fit_calibration_line(*_draw(rng, n=4000, shift=1.0))
    assert low.in_the_large == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    "probabilities", [[0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1], [0.5] * 4, [0, 0, 1, 1]]
)
def test_a_line_without_an_end_is_none(probabilities):
    assert fit_calibration_line(np.array([0, 0, 1, 1]), np.array(probabilities, float)) is None
    assert fit_calibration_line(np.ones(4, int), np.array(probabilities, float)) is None


# -- temperature ----------------------------------------------------------------------------------


def test_the_temperature_is_that_of_least_loss(rng):
    labels, probabilities = _draw(rng, slope=0.4)
    logits = np.log(probabilities / (1 - probabilities))
    found = fit_temperature(labels, logits)
    grid = np.exp(np.linspace(np.log(0.5), np.log(8), 2000))
    scaled = logits / grid[:, None]
    losses = (np.logaddexp(0, scaled) - labels * scaled).mean(1)
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)
    assert log_loss(labels, 1 / (1 + np.exp(-logits / found))) == pytest.approx(losses.min())
    assert found == pytest.approx(2.5, rel=0.2)


def test_a_temperature_stays_in_its_range():
    labels = np.array([0, 0, 1, 1])
    assert fit_temperature(labels, np.array([-2.0, -1, 1, 2])) == pytest.approx(0.02, rel=0.01)
    assert fit_temperature(labels, np.array([2.0, 1, -1, -2])) == pytest.approx(50, rel=0.01)

"""Shares with the interval to quote."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from pneumoscope.evaluation import estimate_shares


def test_without_patients_the_interval_is_wilsons():
    hit, among = np.arange(40) < 10, np.arange(40) < 30
    found = estimate_shares({"a": (hit, among)})["a"]
    low, high = proportion_confint(10, 30, method="wilson")
    assert found.value == pytest.approx(1 / 3)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def test_patients_with_many_images_widen_it():
    """Eight images of each patient that are all answered alike say little more than one."""
    hit, every = np.repeat(np.arange(10) < 5, 8), np.ones(80, bool)
    patients = [f"p{i // 8}" for i in range(80)]
    alone = estimate_shares({"a": (hit, every)})["a"].interval
    found = estimate_shares({"a": (hit, every)}, patients)["a"].interval
    assert found.low < alone.low - 0.05
    assert found.high > alone.high + 0.05


def test_where_nothing_was_wrong_it_keeps_its_width():
    every = np.ones(20, bool)
    found = estimate_shares({"a": (every, every)}, [f"p{i}" for i in range(20)])["a"]
    assert found.value == 1
    assert found.interval.low < 0.9


def test_a_share_of_nothing_is_undefined():
    none = np.zeros(5, bool)
    assert estimate_shares({"a": (none, none)}, ["p"] * 5)["a"] == (None, None)

"""How often a score like this one was right."""

from __future__ import annotations

import numpy as np
import pytest

from pneumoscope.evaluation import find_similar_scores, wilson_interval


def test_the_nearest_scores_are_counted():
    probabilities = np.array([0.1, 0.2, 0.58, 0.62, 0.64, 0.9])
    labels = np.array([0, 0, 1, 0, 1, 1])
    found = find_similar_scores(labels, probabilities, 0.61, n=3)
    assert found is not None
    assert (found.n, found.positives, found.low, found.high) == (3, 2, 0.58, 0.64)
    assert found.interval == wilson_interval(2, 3)
    assert found.share == pytest.approx(2 / 3)


def test_the_order_of_images_with_one_score_does_not_matter(rng):
    probabilities = np.full(60, 0.5)
    labels = np.arange(60) % 2
    found = find_similar_scores(labels, probabilities, 0.5)
    assert found is not None
    assert (found.n, found.positives) == (60, 30)


def test_fewer_images_are_all_taken_and_none_say_nothing():
    found = find_similar_scores(np.array([1, 0]), np.array([0.3, 0.9]), 0.5)
    assert found is not None
    assert (found.n, found.low, found.high) == (2, 0.3, 0.9)
    assert find_similar_scores(np.array([], int), np.array([]), 0.5) is None

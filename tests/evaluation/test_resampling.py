"""The bootstrap draws patients, not images, and the same ones for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from pneumoscope.evaluation import find_clusters, resample
from pneumoscope.evaluation.ranking import Ranking
from pneumoscope.evaluation.resampling import iterate_resamples


def test_images_of_a_patient_come_together():
    clusters = find_clusters(6, ["a", "a", "b", None, None, "b"])
    assert clusters.count == 4
    assert clusters.unit == "patient"
    for weights in iterate_resamples(clusters, resamples=50):
        assert (weights[:, 0] == weights[:, 1]).all()
        assert (weights[:, 2] == weights[:, 5]).all()
        assert (weights[:, 3] != weights[:, 4]).any()
        assert (weights[:, [0, 2, 3, 4]].sum(1) == 4).all()


def test_a_patient_called_like_an_image_is_not_one():
    assert find_clusters(3, ["image 1", None, "0 1"]).count == 3


def test_many_images_give_the_same_draws_in_pieces(monkeypatch):
    clusters = find_clusters(30)
    whole = np.concatenate(list(iterate_resamples(clusters, resamples=40, seed=3)))
    monkeypatch.setattr("pneumoscope.evaluation.resampling._CHUNK", 100)
    pieces = list(iterate_resamples(clusters, resamples=40, seed=3))
    assert len(pieces) > 10
    assert np.array_equal(np.concatenate(pieces), whole)


def test_a_mean_spreads_as_its_standard_error_says(rng):
    values = rng.normal(size=400)
    means = resample(find_clusters(400), lambda w: {"mean": w @ values / w.sum(1)})["mean"]
    assert means.std() == pytest.approx(values.std() / 20, rel=0.1)


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_ranking_is_that_of_scikit_learn(rng, ties):
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels = (rng.random(80) < 0.6).astype(np.int64)
    scores = rng.normal(labels)
    scores = np.round(scores) if ties else scores
    weights = np.concatenate(list(iterate_resamples(find_clusters(80), resamples=20)))
    found = Ranking(labels, scores).measure(weights)
    for row, weight in enumerate(weights):
        auc = roc_auc_score(labels, scores, sample_weight=weight)
        precision = average_precision_score(labels, scores, sample_weight=weight)
        assert found["auc"][row] == pytest.approx(auc, abs=1e-12)
        assert found["average_precision"][row] == pytest.approx(precision, abs=1e-12)


def test_no_image_is_no_accident():
    assert list(iterate_resamples(find_clusters(0))) == []

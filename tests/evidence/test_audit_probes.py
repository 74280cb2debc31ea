"""Shortcut probes, drift and the judge of labels, on features whose relation is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pneumoscope.datasets import FEATURES
from pneumoscope.evidence.audit.descriptions import describe_shapes
from pneumoscope.evidence.audit.drift import compare_splits
from pneumoscope.evidence.audit.probes import PROBES, assign_folds, probe_shortcuts, run_probe
from pneumoscope.evidence.audit.suspects import find_suspects, judge_out_of_fold

N = 400


def _features(rng, n=N, **planted):
    table = {name: rng.normal(size=n) for name in FEATURES}
    return pl.DataFrame(table | planted)


def _frame(labels, **columns):
    n = len(labels)
    return pl.DataFrame(
        {
            "path": [f"/x/{row}.png" for row in range(n)],
            "label": np.where(labels == 1, "PNEUMONIA", "NORMAL"),
            "group": [f"g{row // 2}" for row in range(n)],
            "source": ["here"] * n,
            "split": [None] * n,
        }
        | columns,
        schema_overrides={"split": pl.String},
    )


@pytest.fixture
def labels():
    return np.repeat([0, 1], N // 2)


def _probe(rng, values, labels, groups=None):
    groups = np.arange(len(labels)) if groups is None else groups
    return run_probe("x", np.asarray(values, float).reshape(len(labels), -1), labels, groups, 0)


# -- one probe ----------------------------------------------------------------------------------


def test_a_feature_that_says_nothing_is_at_chance(rng, labels):
    probes = [_probe(rng, rng.normal(size=N), labels) for _ in range(5)]
    assert all(probe.interval.low < 0.55 for probe in probes)
    assert np.mean([probe.auc for probe in probes]) == pytest.approx(0.5, abs=0.05)


def test_a_feature_that_rises_and_falls_counts(rng, labels):
    values = np.where(labels == 1, rng.normal(0, 0.3, N), rng.choice([-2, 2], N))
    assert _probe(rng, values, labels).auc > 0.97


def test_a_constant_is_exactly_chance(rng, labels):
    probe = _probe(rng, np.ones(N), labels)
    assert probe.auc == 0.5
    assert probe.reason == "the same in all images"


def test_a_feature_that_only_one_class_has_is_a_shortcut(rng, labels):
    values = np.where(labels == 1, np.nan, 90.0)
    assert _probe(rng, values, labels).auc == 1


def test_a_feature_that_names_the_patient_does_not_help(rng):
    """Sixty patients of five images each: their own value is no use for another patient."""
    groups = np.repeat(np.arange(60), 5)
    labels = rng.permutation(np.repeat([0, 1], 30))[groups]
    values = rng.normal(size=60)[groups]
    assert abs(_probe(rng, values, labels, groups).auc - 0.5) < 0.2
    assert _probe(rng, values, labels).auc > 0.8  # as it looks where patients are torn apart


def test_no_value_and_few_patients_are_said_to_be_so(rng, labels):
    assert "not available" in _probe(rng, np.full(N, np.nan), labels).reason
    few = _probe(rng, rng.normal(size=N), labels, np.repeat(np.arange(16), N // 16))
    assert few.auc is None
    assert "20 patients on each side are needed" in few.reason


def test_no_group_is_in_two_folds(rng, labels):
    groups = rng.permutation(np.repeat(np.arange(N // 4), 4))
    folds = assign_folds(labels, groups, 0)
    assert {len(np.unique(folds[groups == group])) for group in np.unique(groups)} == {1}
    assert set(folds) == set(range(5))


# -- all of them --------------------------------------------------------------------------------


def test_a_planted_shortcut_is_found_and_the_others_are_not(rng, labels):
    features = _features(rng, width=np.where(labels == 1, 1400.0, 1000.0))
    (contrast,) = probe_shortcuts(_frame(labels), features)
    found = {probe.name: probe.auc for probe in contrast.probes}
    assert list(found) == list(PROBES)
    assert found["size"] == 1
    assert found["all"] > 0.99
    assert all(abs(found[name] - 0.5) < 0.13 for name in set(found) - {"size", "all"})


def test_series_and_sources_are_told_apart_within_a_label(rng, labels):
    series = rng.permutation(N)
    paths = [
        f"/x/person{row}_{'virus' if row % 2 else 'bacteria'}_{row}.png"
        if label
        else f"/x/{'NORMAL2-' if row % 2 else ''}IM-{row:04d}-0001.png"
        for row, label in zip(series, labels, strict=True)
    ]
    features = _features(rng, contrast=np.where((labels == 0) & (series % 2 == 1), 5.0, 0.0))
    contrasts = {c.name: c for c in probe_shortcuts(_frame(labels, path=paths), features)}
    within = contrasts["IM against NORMAL2-IM, all NORMAL"]
    assert within.about == "acquisition"
    assert {p.name: p.auc for p in within.probes}["contrast"] == 1
    assert {p.name: p.auc for p in contrasts["IM against PNEUMONIA"].probes}["contrast"] == 0.5
    viruses = int(((labels == 1) & (series % 2 == 1)).sum())
    assert contrasts["virus against NORMAL"].positives == viruses


def test_sources_with_both_classes_are_judged_alone(rng, labels):
    sources = np.where(np.arange(N) % 2, "here", "there")
    planted = np.where(sources == "here", labels * 1.0, 0.0)
    features = _features(rng, jpeg_quality=planted)
    contrasts = {c.name: c for c in probe_shortcuts(_frame(labels, source=sources), features)}
    quality = {
        name: {p.name: p.auc for p in contrast.probes}["jpeg_quality"]
        for name, contrast in contrasts.items()
    }
    assert quality["PNEUMONIA against NORMAL, of here"] == 1
    assert quality["PNEUMONIA against NORMAL, of there"] == 0.5
    assert quality["here against there, all PNEUMONIA"] == 1


# -- drift ----------------------------------------------------------------------------------------


def _parted(labels, rng):
    split = np.where(rng.random(len(labels)) < 0.3, "test", "train")
    return _frame(labels, split=split), split == "test"


def test_parts_of_one_batch_cannot_be_told_apart(rng, labels):
    frame, _ = _parted(labels, rng)
    parts = compare_splits(frame, _features(rng), rng.normal(size=(N, 5)))
    assert [(part.split, part.label) for part in parts] == [
        ("test", "NORMAL"), ("test", "PNEUMONIA"),
    ]  # fmt: skip
    assert [part.told_apart for part in parts] == [[], []]
    assert all("cannot be told apart" in part.describe() for part in parts)


def test_another_machine_in_the_test_part_is_seen_in_its_label_only(rng, labels):
    frame, other = _parted(labels, rng)
    shifted = rng.normal(size=N) + 4 * (other & (labels == 0))
    normal, sick = compare_splits(frame, _features(rng, contrast=shifted), rng.normal(size=(N, 5)))
    assert normal.acquisition.auc > 0.9
    assert normal.distances["contrast"] > 0.9
    assert "were not made alike" in normal.describe()
    assert sick.told_apart == []


def test_another_share_of_pneumonias_is_no_drift(rng, labels):
    split = np.where(rng.random(N) < np.where(labels == 1, 0.5, 0.1), "test", "train")
    features = _features(rng, contrast=labels * 3.0 + rng.normal(size=N))
    sick = compare_splits(_frame(labels, split=split), features, rng.normal(size=(N, 5)))[1]
    assert sick.told_apart == []


def test_few_images_and_no_splits_are_said_to_be_so(rng, labels):
    assert compare_splits(_frame(labels), _features(rng), rng.normal(size=(N, 5))) == []
    split = np.where(np.arange(N) % 100 == 0, "val", "train")
    part = compare_splits(_frame(labels, split=split), _features(rng), rng.normal(size=(N, 5)))[0]
    assert "cannot be told: too few" in part.describe()


# -- the judge of labels ------------------------------------------------------------------------


def test_planted_wrong_labels_are_found(rng, labels):
    description = rng.normal(size=(N, 30)).astype(np.float32) * 0.3
    description[:, 0] += 2.0 * labels
    flipped = rng.choice(N, 8, replace=False)
    given = labels.copy()
    given[flipped] = 1 - given[flipped]
    groups = np.array([f"g{row}" for row in range(N)])
    probabilities, folds = judge_out_of_fold(description, given, groups)
    paths = [str(row) for row in range(N)]
    judgement = find_suspects(paths, given, probabilities, groups, "ours", folds)
    found = {int(suspect.path) for suspect in judgement.suspects}
    assert len(found & set(flipped)) >= 7
    assert len(found) <= 12
    assert judgement.auc > 0.9
    scores = [suspect.score for suspect in judgement.suspects]
    assert scores == sorted(scores, reverse=True)
    assert all(0.5 < score <= 1 for score in scores)


def test_the_judge_never_saw_the_label_that_it_judges(rng, labels):
    """Where features say nothing, a label that was seen would be believed."""
    description = rng.normal(size=(N, 200)).astype(np.float32)
    probabilities, _ = judge_out_of_fold(description, labels, np.arange(N))
    assert abs(((probabilities > 0.5) == (labels == 1)).mean() - 0.5) < 0.12


def test_a_judge_that_knows_no_better_than_chance_doubts_nobody(rng, labels):
    paths = [str(row) for row in range(N)]
    judgement = find_suspects(paths, labels, rng.random(N), np.arange(N), "a coin")
    assert judgement.suspects == ()
    assert judgement.auc < 0.7
    assert "hardly tells the classes apart" in judgement.reason


def test_images_without_a_prediction_are_not_judged(rng, labels):
    probabilities = np.where(np.arange(N) % 2, np.nan, np.clip(labels, 0.05, 0.95))
    probabilities[0] = 0.99
    paths = [str(row) for row in range(N)]
    judgement = find_suspects(paths, labels, probabilities, np.arange(N), "theirs")
    assert judgement.judged == N // 2
    assert [suspect.path for suspect in judgement.suspects] == ["0"]


def test_a_description_forgets_brightness_and_keeps_shape(rng):
    shapes = rng.integers(0, 100, (3, 128, 128), dtype=np.uint8)
    brighter = (shapes + 100).astype(np.uint8)
    described = describe_shapes(shapes)
    assert described.shape == (3, 1764)
    assert describe_shapes(brighter) == pytest.approx(described, abs=1e-5)
    assert np.abs(described[0] - described[1]).max() > 0.05
    assert not describe_shapes(np.full((1, 128, 128), 9, np.uint8)).any()


def test_a_stripe_has_the_direction_that_it_has():
    """Vertical stripes have gradients across: the first of nine directions."""
    stripes = np.tile(np.repeat([0, 200], 8).astype(np.uint8), (128, 8))[None]
    cells = describe_shapes(stripes).reshape(-1, 9)
    assert (cells.argmax(1) == 0).all()

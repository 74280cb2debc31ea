"""What is lost on the same images: the number, and an interval that is neither blind nor empty."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pneumoscope.evaluation.paired_drop import measure_drops


@pytest.fixture
def case(rng):
    labels = np.arange(200) % 2
    before = np.clip(rng.normal(0.35 + 0.3 * labels, 0.15), 0, 1)
    return labels, before, np.clip(before + rng.normal(0, 0.25, 200), 0, 1)


def test_a_drop_is_before_minus_after(case):
    labels, before, after = case
    drops = measure_drops(labels, before, after, 0.5)
    wanted = roc_auc_score(labels, before) - roc_auc_score(labels, after)
    assert drops["auc"].value == pytest.approx(wanted)
    for name, ill in (("sensitivity", 1), ("specificity", 0)):
        right = [((s >= 0.5) == ill)[labels == ill].mean() for s in (before, after)]
        assert drops[name].value == pytest.approx(right[0] - right[1])
        assert drops[name].interval.low <= drops[name].value <= drops[name].interval.high
    assert drops["auc"].interval.low > 0


def test_an_interval_is_that_of_drawing_samples_anew(rng):
    """With samples from a known law, the spread of the drop over samples is what it says."""

    def draw():
        labels = np.arange(300) % 2
        before = rng.normal(1.5 * labels, 1)
        return labels, before, before + rng.normal(0, 1, 300)

    drops = [roc_auc_score(y, a) - roc_auc_score(y, b) for y, a, b in (draw() for _ in range(400))]
    found = measure_drops(*draw(), 0.75)["auc"].interval
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(drops), rel=0.25)


def test_where_no_answer_changed_the_interval_keeps_a_width(case):
    labels, before, _ = case
    drop = measure_drops(labels, before, before, 0.5)["sensitivity"]
    assert drop.value == 0
    assert drop.interval.low < 0 < drop.interval.high


def test_without_a_class_what_needs_it_is_absent():
    drops = measure_drops(np.ones(4, np.int64), np.full(4, 0.9), np.full(4, 0.1), 0.5)
    assert set(drops) == {"sensitivity"}
    assert drops["sensitivity"].value == 1

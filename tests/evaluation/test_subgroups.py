"""Subgroups: any column becomes groups, and each has numbers with their width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.evaluation import compute_metrics, cut_values, judge_subgroups


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["b", None, " a ", ""], ["b", "unknown", "a", "unknown"]),
        ([1, 0, None, 1.0], ["1", "0", "unknown", "1"]),  # few numbers are categories
        (["3", "1", "2", "4", "6", "5", ""], ["> 2 to 4", "≤ 2", "≤ 2",
         "> 2 to 4", "> 4", "> 4", "unknown"]),
        (["1", "2", "3", "4", "5", "6", "x"], ["1", "2", "3", "4", "5", "6", "x"]),
        ([None, "nan"], ["unknown", "unknown"]),
        (["a", "nan", float("inf")], ["a", "unknown", "inf"]),
        ([1, float("inf"), float("nan")], ["1", "unknown", "unknown"]),
    ],
)  # fmt: skip
def test_values_become_groups(values, names):
    assert cut_values(values) == names


def test_numbers_are_cut_where_a_person_says():
    assert cut_values([1, 18, 19, 90], bins=[18, 65]) == ["≤ 18", "≤ 18", "> 18 to 65", "> 65"]


def test_edges_are_numbers_that_people_read():
    sides = [1_000_000 + 1234 * i for i in range(900)]
    assert set(cut_values(sides)) == {"≤ 1,370,000", "> 1,370,000 to 1,740,000", "> 1,740,000"}
    years = [2015 + i for i in range(9)]
    assert set(cut_values(years)) == {"≤ 2017", "> 2017 to 2020", "> 2020"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=5)), max_size=30))
def test_any_column_can_be_cut(values):
    names = cut_values(values)
    assert len(names) == len(values)
    assert all(name for name in names)


def _draw(rng, n=300):
    labels = (rng.random(n) < 0.6).astype(np.int64)
    return labels, np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1)


def test_a_group_is_judged_as_if_it_were_alone(rng):
    labels, scores = _draw(rng)
    names = [("old", "young")[i % 3 > 0] for i in range(300)]
    patients = [f"p{i // 2}" for i in range(300)]
    groups = judge_subgroups(labels, scores, 0.5, names, patients)
    assert [group.name for group in groups] == ["old", "young"]
    rows = np.array(names) == "old"
    expected = compute_metrics(
        labels[rows], scores[rows], 0.5, [p for p, r in zip(patients, rows, strict=True) if r]
    ).to_dict()
    found = groups[0].to_dict()
    for name in ("n", "recall", "specificity", "auc", "fn", "fp"):
        assert found[name] == expected[name]
    assert found["intervals"]["auc"] == expected["intervals"]["auc"]
    assert sum(group.to_dict()["n"] for group in groups) == 300


def test_a_small_group_is_shown_with_its_width(rng):
    labels, scores = _draw(rng)
    scores[0], labels[0] = 0.9, 1
    small, _ = judge_subgroups(labels, scores, 0.5, ["a"] + ["b"] * 299)
    found = small.to_dict()
    assert (found["n"], found["recall"], found["specificity"], found["auc"]) == (1, 1.0, None, None)
    assert found["intervals"]["recall"] == pytest.approx([0.2065, 1.0], abs=1e-4)


def test_kinds_of_pneumonia_share_the_normal_images(rng):
    labels, scores = _draw(rng)
    kinds = [
        "none" if not label else ("virus", "bacteria")[i % 2] for i, label in enumerate(labels)
    ]
    groups = judge_subgroups(labels, scores, 0.5, kinds, kinds_of_pneumonia=True)
    assert [group.name for group in groups] == ["bacteria", "virus"]
    found = [group.to_dict() for group in groups]
    assert sum(group["n"] for group in found) == labels.sum()
    assert all("specificity" not in group and group["fp"] is None for group in found)
    rows = np.array([kind in ("bacteria", "none") for kind in kinds])
    assert found[0]["auc"] == compute_metrics(labels[rows], scores[rows], 0.5).auc


def test_ranges_stand_in_order_and_unknown_last(rng):
    labels, scores = _draw(rng, n=40)
    values = [*range(30), *[None] * 10]
    names = [group.name for group in judge_subgroups(labels, scores, 0.5, cut_values(values))]
    assert [name[0] for name in names] == ["≤", ">", ">", "u"]
    assert " to " in names[1]

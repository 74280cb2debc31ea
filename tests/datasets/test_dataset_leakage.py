"""Leakage is counted image by image, and what cannot be told is not called clean."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.datasets import find_leakage, mark_leaked

SPLIT = st.sampled_from(["train", "val", "test"])
NAME = st.none() | st.sampled_from("abcde")


def _frame(rows: list[tuple[str, str | None, str | None]]) -> pl.DataFrame:
    schema = {"split": pl.String, "patient": pl.String, "copies": pl.String}
    return pl.DataFrame(rows, schema, orient="row")


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(SPLIT, NAME, NAME), min_size=1, max_size=30))
def test_leaks_are_those_that_plain_python_finds(
    rows: list[tuple[str, str | None, str | None]],
) -> None:
    leakage = find_leakage(_frame(rows))
    marked = mark_leaked(_frame(rows))
    for column, found, names in (
        (1, leakage.test_patient_in_train, leakage.patients),
        (2, leakage.test_copy_in_train, leakage.copies),
    ):
        train = {row[column] for row in rows if row[0] == "train"} - {None}
        assert found == sum(row[0] == "test" and row[column] in train for row in rows)
        splits = {name: {row[0] for row in rows if row[column] == name} for name in "abcde"}
        assert list(names) == [name for name in "abcde" if len(splits[name]) > 1]
    for row, patient, copy in zip(
        rows, marked["patient_in_train"], marked["copy_in_train"], strict=True
    ):
        assert (patient is None) == (row[0] == "train" or row[1] is None)
        assert (copy is None) == (row[0] == "train")
    assert bool(leakage) == bool(leakage.patients or leakage.copies)


def test_a_leak_is_told_in_a_sentence() -> None:
    rows = [("train", "a", "x"), ("test", "a", None), ("test", "b", "x"), ("test", "c", None)]
    assert find_leakage(_frame(rows)).describe() == (
        "1 patient is in more than one split, such as a and 1 set of identical or "
        "near-identical images straddles splits; 1 of 3 test images have their patient in train, "
        "1 a copy."
    )
    clean = [("train", "a", None), ("test", "b", None)]
    assert find_leakage(_frame(clean)).describe().startswith("No patient and no copy")

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumoscope._probability import format_probability


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8764, "0.876"), (0.5, "0.500"), (0.0004, "0.0004"), (0.99984, "0.9998"),
        (0.00004, "<0.0001"), (0.99998, ">0.9999"), (0.0, "<0.0001"), (1.0, ">0.9999"),
    ],
)  # fmt: skip
def test_a_probability_is_written_for_people(value: float, text: str) -> None:
    assert format_probability(value) == text


@given(st.floats(0.0, 1.0))
def test_no_probability_reads_as_certain(value: float) -> None:
    assert 0.0 < float(format_probability(value).lstrip("<>")) < 1.0


@given(st.floats(0.0, 1.0))
def test_what_is_written_is_near_what_is(value: float) -> None:
    assert abs(float(format_probability(value).lstrip("<>")) - value) <= 0.0005000001

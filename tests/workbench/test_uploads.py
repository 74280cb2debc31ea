"""What somebody types beside an upload is kept as typed, or refused; nothing is dropped unseen."""

from __future__ import annotations

import unicodedata

import pytest

from pneumoscope.records import clean_key
from pneumoscope.workbench.problems import Problem
from pneumoscope.workbench.uploads import check_patient


@pytest.mark.parametrize("typed", ["4711", " Änne 4711 ", unicodedata.normalize("NFD", "Änne")])
def test_a_typed_key_is_spelt_as_one_of_a_header(typed):
    assert check_patient(typed) == clean_key(typed)


@pytest.mark.parametrize("typed", [None, "", " \n"])
def test_nothing_typed_is_no_patient(typed):
    assert check_patient(typed) is None


@pytest.mark.parametrize("typed", ["x" * 257, "47\n11", "47\u200b11", "47\u00a011", "\0"])
def test_a_typed_key_that_would_lose_something_is_refused(typed):
    with pytest.raises(Problem, match="at most 256 characters, all of which show"):
        check_patient(typed)

"""One person is one patient, however the key was written; and is found, and forgotten, by it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from pneumoscope.records import (
    Patient,
    PatientConflictError,
    Study,
    StudyQuery,
    clean_key,
    count_studies,
    forget_patient,
    list_studies_of,
)
from pneumoscope.records.filing import complete_study

COMPOSED, DECOMPOSED = "Änne-4711", unicodedata.normalize("NFD", "Änne-4711")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (None, None),
        ("", None),
        (" \t\0", None),
        (DECOMPOSED, COMPOSED),
        (" 4711\r\n", "4711"),
        ("\u00a04711\u200b", "4711"),
        ("47\x0011", "4711"),
        ("A\u200d\u0308", "Ä"),
        ("ANNE 1", "ANNE 1"),
        ("x" * 256, "x" * 256),
    ],
)
def test_a_key_has_one_spelling(written, kept):
    assert clean_key(written) == kept


def test_two_long_keys_are_two_patients():
    one, other = (clean_key("x" * 300 + end) for end in "ab")
    assert one != other
    assert len(one) == len(other) == 256
    assert clean_key("x" * 300 + "a ") == one


@given(st.text(max_size=300))
def test_a_spelt_key_stays_as_it_is(written):
    kept = clean_key(written)
    assert clean_key(kept) == kept
    assert kept is None or (0 < len(kept) <= 256 and kept.isprintable())


def test_studies_of_one_person_are_filed_under_one_patient(record, file):
    first = file(record, b"one", patient=DECOMPOSED)
    second = file(record, b"two", patient=f"\u200b{COMPOSED} ")
    assert file(record, b"one", patient=COMPOSED).study == first.study
    with pytest.raises(PatientConflictError):
        file(record, b"one", patient="Anne-4711")
    with record.read() as session:
        assert session.scalars(select(Patient.key)).all() == [COMPOSED]
        assert count_studies(session, StudyQuery(text=DECOMPOSED)) == 2
    for written in (COMPOSED, DECOMPOSED, f" {DECOMPOSED}\n"):
        assert set(list_studies_of(record, written)) == {first.study, second.study}


def test_a_patient_is_forgotten_by_any_spelling_of_the_key(record, file):
    file(record, patient=COMPOSED)
    assert forget_patient(record, f"{DECOMPOSED} ").images == 1
    with record.read() as session:
        assert session.scalars(select(Study.id)).all() == []
        assert session.scalars(select(Patient.id)).all() == []


def test_what_cannot_be_read_comes_with_every_patient_and_is_of_none(record, file):
    """As the README of each disc that a hospital burns."""
    filed = file(record, patient="anna")
    with record.begin() as session:
        study = session.get_one(Study, filed.study)
        study.status = "error"
        complete_study(session, study, "bert", None)
        assert session.get_one(Patient, study.patient_id).key == "anna"
        study.status = "ok"
        with pytest.raises(PatientConflictError):
            complete_study(session, study, "bert", None)

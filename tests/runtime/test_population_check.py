"""The population check: absent where a bundle has none, a threshold on a linear score elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

import pneumoscope
from pneumoscope import images
from pneumoscope.bundle import CardFacts, annotate_bundle
from pneumoscope.runtime import Decision, WarningCode
from pneumoscope.runtime.descriptor import LENGTH, describe
from pneumoscope.runtime.population import PopulationCheck


def test_a_bundle_without_the_arrays_has_no_check():
    assert PopulationCheck.from_reference({"logits": np.zeros(3)}) is None


def test_what_scores_above_the_limit_is_outside(rng):
    squares = rng.integers(0, 256, (6, 64, 64), dtype=np.uint8)
    weight = rng.normal(size=LENGTH).astype(np.float32)
    scores = describe(squares) @ weight
    check = PopulationCheck.from_reference(
        {"population_weight": weight, "population_limit": np.array(np.median(scores))}
    )
    assert check is not None
    found = [check.is_outside(square) for square in squares]
    assert found == list(scores > np.median(scores))


@pytest.mark.parametrize(
    ("header", "age"),
    [
        ({"PatientAge": "045Y"}, 45),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "010D"}, 10 / 365.2425),
        ({"PatientAge": "003Y", "PatientBirthDate": "19700101"}, 3),
        ({"PatientBirthDate": "20200301", "StudyDate": "20260301"}, 6),
        ({"PatientBirthDate": "20200302", "StudyDate": "20260301"}, 5 + 11 / 12),
        ({"PatientAge": "000Y", "PatientBirthDate": "20220301", "StudyDate": "20260301"}, 4),
        ({"PatientAge": "45y"}, 45),  # no zero, and no capital
        ({"PatientAge": "999Y"}, None),
        ({"PatientAge": "three"}, None),
        ({"PatientBirthDate": "20780601", "StudyDate": "21230601"}, 45),  # both moved
        (
            {
                "PatientBirthDate": "20200301",
                "StudyDate": "20260301",
                "AcquisitionDate": "19000101",
            },
            6,
        ),
        ({"PatientBirthDate": "20220301"}, None),  # when was this?
        ({"PatientBirthDate": "20270101", "StudyDate": "20260301"}, None),
        ({"PatientBirthDate": "18000101", "StudyDate": "20260301"}, None),  # a stand-in
        ({}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_the_age_is_read_from_a_header(make_dicom, rng, header, age):
    data = make_dicom(rng.integers(0, 4096, (70, 70)).astype(np.uint16), BitsStored=12, **header)
    assert images.read(data).age == (None if age is None else pytest.approx(age, abs=0.005))


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("045Y", "45 years old, and the model is for people from 1 to under 6 years"),
        ("006Y", "6 years old"),
        ("005M", "5 months old"),
        ("005Y", None),
        ("012M", None),
        (None, None),
    ],
)
def test_people_of_an_age_that_the_model_is_not_for_are_referred(
    make_dicom, bundle, tmp_path, rng, stated, said
):
    aged = annotate_bundle(bundle, tmp_path / "aged", facts=CardFacts(ages=(1, 6)))
    header = {"PatientAge": stated} if stated else {}
    data = make_dicom(rng.integers(0, 4096, (80, 80)).astype(np.uint16), BitsStored=12, **header)
    old = pneumoscope.load(bundle).predict(data)
    new = pneumoscope.load(aged.path).predict(data)
    assert new.probability == old.probability
    if said:
        assert new.decision is Decision.REFER
        assert said in new.message
        assert WarningCode.OUTSIDE_POPULATION in new.warnings
    else:
        assert (new.decision, new.warnings) == (old.decision, old.warnings)


@pytest.mark.parametrize("ages", [(6, 1), (-1, 6), (3, 3)])
def test_ages_that_nobody_has_cannot_be_stated(ages):
    with pytest.raises(ValueError, match="ages go from"):
        CardFacts(ages=ages)

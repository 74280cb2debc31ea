"""The viewer as the server writes it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pneumoscope.records import StudyQuery, Verdict, add_reading, find_neighbours, find_study
from pneumoscope.runtime import CAPTION, Decision
from pneumoscope.workbench.calibration_part import CalibrationPart
from pneumoscope.workbench.pages import viewer


def test_how_often_a_score_like_this_was_right_is_counted_on_the_calibration_part(
    client, ward, service
):
    bundle = service.predictor.bundle
    arrays = bundle.reference()
    scores = service.predictor.calibrate(arrays["logits"])
    nearest = np.argsort(np.abs(scores - 0.97), kind="stable")[:50]
    sick = int(arrays["labels"][nearest].sum())
    text = re.sub(r"\s+", " ", client.get(f"/studies/{ward['urgent']}").text)
    assert "Of the 50 images of the calibration part with the nearest scores" in text
    assert f"<b>{sick} had pneumonia</b> ({round(100 * sick / 50)} %" in text


def test_of_a_small_calibration_part_only_a_fifth_is_near(client, ward, monkeypatch):
    part = CalibrationPart(np.arange(60) // 30, np.linspace(0, 1, 60), {})
    monkeypatch.setattr(viewer, "read_calibration_part", lambda bundle: part)
    text = re.sub(r"\s+", " ", client.get(f"/studies/{ward['urgent']}").text)
    assert "Of the 12 images of the calibration part" in text
    assert "<b>12 had pneumonia</b>" in text


def test_a_rejected_image_has_its_reason_and_no_map_and_no_numbers(client, ward):
    html = client.get(f"/studies/{ward['rejected']}").text
    assert "REJECTED for a reason." in html
    assert 'id="map"' not in html
    assert "nearest scores" not in html
    assert 'value="agree" disabled' in html


def test_an_answered_one_has_its_map_named_for_what_it_is(client, ward):
    html = client.get(f"/studies/{ward['urgent']}").text
    assert 'id="map"' in html
    assert CAPTION in html
    assert 'value="agree">' in html


def test_warnings_are_explained(client, ward):
    html = client.get(f"/studies/{ward['unsure']}").text
    assert "the model was not made for these people" in html
    assert "nearest scores" not in html  # the calibration part says nothing about them


def test_the_picture_says_whose_it_is(client, ward, service):
    with service.record.read() as session:
        study = find_study(session, ward["urgent"])
    html = client.get(f"/studies/{ward['urgent']}").text
    assert f'data-title="{study.patient} · ' in html


def test_other_studies_of_the_patient_are_offered(client, ward):
    html = client.get(f"/studies/{ward['urgent']}").text
    assert f'data-id="{ward["older"]}"' in html
    assert "4 Mar 2026" in html
    assert "Other studies" not in client.get(f"/studies/{ward['clear']}").text


def test_neighbours_are_those_of_the_list(client, ward):
    html = client.get(f"/studies/{ward['older']}").text
    assert f'rel="prev" href="/studies/{ward["urgent"]}?' in html
    assert f'rel="next" href="/studies/{ward["unsure"]}?' in html
    alone = client.get(f"/studies/{ward['older']}?decision=PNEUMONIA").text
    assert 'rel="next"' not in alone


def test_walking_the_neighbours_visits_every_study_once(ward, service):
    query = StudyQuery(decision=Decision.NORMAL)
    with service.record.read() as session:
        here, seen = ward["urgent"], []
        while (here := find_neighbours(session, find_study(session, here), query)[1]) is not None:
            seen.append(here)
        assert len(seen) == len({*seen}) == 52
        back = find_neighbours(session, find_study(session, seen[-1]), query)[0]
        assert back == seen[-2]


def test_readings_are_listed_with_who_and_what(client, ward, service):
    with service.record.begin() as session:
        add_reading(
            session, ward["clear"], "anna", Verdict.CORRECT, "PNEUMONIA", "<b>left</b> base"
        )
    html = client.get(f"/studies/{ward['clear']}/readings").text
    assert "<b>anna</b> <span>reads PNEUMONIA</span>" in html
    assert "&lt;b&gt;left&lt;/b&gt; base" in html
    assert html.replace("\n", "") in client.get(f"/studies/{ward['clear']}").text.replace("\n", "")
    assert "clear.png" not in client.get("/worklist/rows?unread=1").text


@pytest.mark.parametrize("path", ["/studies/none", "/studies/none/readings"])
def test_there_is_nothing_of_a_study_that_is_not_there(client, path):
    assert client.get(path).status_code == 404


def test_an_answer_of_before_stays_in_sight(client, waiting, answer):
    answer(waiting, Decision.PNEUMONIA, 0.9876, bundle="0" * 64)
    assert "Before, " not in client.get(f"/studies/{waiting}").text
    answer(waiting, Decision.NORMAL, 0.0123)
    html = client.get(f"/studies/{waiting}").text
    before = html[html.index("Before, ") :].split("</p>")[0]
    assert "PNEUMONIA" in before
    assert "0.988" in before
    assert "00000000" in before

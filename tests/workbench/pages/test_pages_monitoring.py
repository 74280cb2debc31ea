"""Monitoring: what was answered lately, and whether it drifts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from pneumoscope.evaluation import Drift, wilson_interval
from pneumoscope.records import Prediction, Verdict, add_reading
from pneumoscope.runtime import INPUTS, Decision
from pneumoscope.workbench import create_app, drift, monitoring
from pneumoscope.workbench.calibration_part import read_calibration_part
from pneumoscope.workbench.drift import DriftWatch
from pneumoscope.workbench.monitoring import Volume


@pytest.fixture(scope="module")
def busy(start, tmp_path_factory):
    """A service with answers of today and of five days ago, all with one brightness."""
    service, file = start(tmp_path_factory.mktemp("busy"))
    with service:
        part = read_calibration_part(service.predictor.bundle)
        like = np.quantile(part.probabilities, (np.arange(120) + 0.5) / 120)
        odd = dict.fromkeys(INPUTS, 0.99)
        for number, probability in enumerate(like):
            decision = Decision.PNEUMONIA if number % 2 else Decision.NORMAL
            file(
                f"{number}.png",
                decision,
                float(probability),
                days=5 * (number % 3 == 0),
                inputs=odd,
            )
        file("colour.png", Decision.REJECTED)
        file("broken.png", None)
        file("unsure.png", Decision.REFER, 0.6)
        file("ancient.png", Decision.REFER, 0.6, days=45)
        yield service


def test_answers_are_counted_by_day(busy):
    days = monitoring.list_days(datetime.now(UTC))
    with busy.record.read() as session:
        found = monitoring.count_by_day(session, busy.predictor.bundle.sha256, days)
    # Of 120, every third lies five days back; even ones are NORMAL.
    assert found[days[-6]] == Volume(pneumonia=20, normal=20)
    assert sum(found.values(), Volume()) == Volume(60, 1, 60, 1, 1)


def test_rates_have_wilsons_intervals():
    rates = Volume(pneumonia=30, refer=10, normal=60, rejected=25, errors=7).rates
    assert rates["flagged"].value == 0.3
    assert rates["referred"].interval == wilson_interval(10, 100)
    assert rates["rejected"].value == 0.2
    assert Volume().rates["flagged"].value is None


def test_scores_that_are_alike_are_no_drift_and_images_that_are_not_are(busy):
    with busy.record.read() as session:
        watched = drift.measure_drift(session, busy.predictor.bundle, datetime.now(UTC))
    found = {entry.name: entry.stability for entry in watched}
    assert found["score"].n == 121
    assert found["score"].drift is Drift.NONE
    assert found["brightness"].drift is Drift.ALARM
    assert {*found} == {"score", *INPUTS}


def test_an_alarm_is_on_every_page_and_the_record_is_asked_once_a_minute(busy, monkeypatch):
    asked, clock = [], [0.0]
    whole = drift.measure_drift
    monkeypatch.setattr(drift, "measure_drift", lambda *args: asked.append(1) or whole(*args))
    watch = DriftWatch(busy.record, busy.predictor.bundle, lambda: clock[0])
    for clock[0] in (0.0, 59.0, 60.0, 61.0):
        assert "brightness" in watch.list_alarms()
    assert len(asked) == 2


def test_pages_show_the_alarm(busy):
    with TestClient(create_app(busy), base_url="http://127.0.0.1:8000") as client:
        for path in ("/", "/upload", "/model"):
            assert (
                '<p class="alarm" role="status"><b>Drift:</b> brightness' in client.get(path).text
            )
        page = client.get("/monitoring").text
    assert 'data-drift="alarm">▲ alarm' in page
    assert "49.6 %" in page  # 60 of 121 flagged in 30 days


def test_drift_is_among_the_metrics(busy):
    with TestClient(create_app(busy), base_url="http://127.0.0.1:8000") as client:
        text = client.get("/api/v1/metrics").text
    assert 'pneumoscope_drift_alarm{measure="brightness"} 1.0\n' in text
    assert 'pneumoscope_drift_alarm{measure="score"} 0.0\n' in text
    assert 'pneumoscope_drift_index{measure="score"} 0.' in text


def test_readers_agree_or_not_day_by_day(start, tmp_path):
    service, file = start(tmp_path)
    with service:
        said = [
            (Decision.NORMAL, Verdict.AGREE, None),
            (Decision.PNEUMONIA, Verdict.AGREE, None),
            (Decision.PNEUMONIA, Verdict.CORRECT, "NORMAL"),
            (Decision.REFER, Verdict.CORRECT, "NORMAL"),  # there was nothing to agree with
        ]
        for number, (decision, verdict, label) in enumerate(said):
            study = file(f"{number}.png", decision, 0.5)
            with service.record.begin() as session:
                add_reading(session, study, "anna", verdict, label)
        with service.record.read() as session:
            bundle = service.predictor.bundle.sha256
            since = datetime.now(UTC) - timedelta(days=1)
            found = monitoring.count_agreements(session, bundle, since)
            latency = monitoring.measure_latency(session, bundle)
    assert [(entry.agreed, entry.read) for entry in found] == [(2, 3)]
    assert (latency.n, latency.p50) == (4, 20.0)


def test_answers_of_an_earlier_model_stay_out_of_the_numbers_of_this_one(start, tmp_path):
    service, file = start(tmp_path)
    with service:
        file("new.png", Decision.NORMAL, 0.1)
        old = [file(f"old-{number}.png", Decision.PNEUMONIA, 0.9) for number in range(3)]
        with service.record.begin() as session:
            add_reading(session, old[0], "anna", Verdict.AGREE, None)
            session.execute(
                update(Prediction).where(Prediction.probability == 0.9).values(bundle="0" * 64)
            )
        with TestClient(create_app(service), base_url="http://127.0.0.1:8000") as client:
            page = client.get("/monitoring").text
    assert "3 answers of other models in 30 days are not counted on this page" in page
    assert "Of the latest 1 answer." in page
    assert "No labels of readers in 30 days." in page
    assert '<th scope="row">Today</th><td>1</td>' in page


def test_what_the_calibration_part_would_give(busy):
    predictor = busy.predictor
    part = read_calibration_part(predictor.bundle)
    expected = monitoring.expect_rates(part, 0.2, 0.8, 0.5)
    assert expected["flagged"] == pytest.approx(np.mean(part.probabilities >= 0.8))
    single = monitoring.expect_rates(part, None, None, 0.5)
    assert single == {"referred": 0.0, "flagged": float((part.probabilities >= 0.5).mean())}


def test_a_single_label_is_told_as_one(start, tmp_path):
    service, file = start(tmp_path)
    with service:
        study = file("one.png", Decision.NORMAL, 0.1)
        with service.record.begin() as session:
            add_reading(session, study, "anna", Verdict.AGREE, None, "")
        with TestClient(create_app(service), base_url="http://127.0.0.1:8000") as client:
            page = client.get("/monitoring", headers={"accept": "text/html"}).text
    assert "of 1 label in 30 days was the model's decision" in page

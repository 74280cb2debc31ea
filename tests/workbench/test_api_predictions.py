"""One image in, its record out: what a program may rely on."""

from __future__ import annotations

import errno
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from PIL import Image
from sqlalchemy.exc import OperationalError

from pneumoscope.runtime import RECORD_FIELDS, load

ROUTE = "/api/v1/predictions"


def test_an_image_is_answered_with_its_record_and_where_it_lies(api, paint):
    data = paint()
    answer = api.post(ROUTE, files={"file": ("a/b/chest.png", data)})
    record = answer.json()
    assert answer.status_code == 201
    assert list(record)[: len(RECORD_FIELDS)] == list(RECORD_FIELDS)
    assert record["path"] == "chest.png"
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert answer.headers["Location"] == f"{ROUTE}/{record['id']}"
    assert api.get(answer.headers["Location"]).json() == record


def test_the_service_answers_as_the_library_does(api, paint, bundle):
    data = paint()
    served = api.post(ROUTE, files={"file": ("x.png", data)}).json()
    alone = load(bundle).predict(data, name="x.png").to_record()
    assert served["decision"] == alone["decision"]
    assert served["probability"] == pytest.approx(alone["probability"], abs=1e-6)
    different = {"probability", "logit"}
    assert {k: v for k, v in alone.items() if k not in different}.items() <= served.items()


def test_the_same_image_is_one_study_with_one_answer(api, paint):
    data = paint()
    first = api.post(ROUTE, files={"file": ("one.png", data)})
    second = api.post(ROUTE, files={"file": ("two.png", data)})
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()


def test_the_same_image_sent_many_times_at_once_is_still_one_study(api, paint):
    data = paint()
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda _: api.post(ROUTE, files={"file": ("x.png", data)}), range(8))
        )
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]


def test_a_study_of_its_own_is_made_where_it_is_asked_for(api, paint):
    data = paint()
    first = api.post(ROUTE, files={"file": ("x.png", data)}).json()
    again = api.post(ROUTE, files={"file": ("x.png", data)}, data={"again": "true"})
    assert again.status_code == 201
    assert again.json()["study"] != first["study"]


def test_a_patient_can_be_named_later_but_not_changed(api, paint):
    data = paint()
    study = api.post(ROUTE, files={"file": ("x.png", data)}).json()["study"]
    named = api.post(ROUTE, files={"file": ("x.png", data)}, data={"patient": "P-7"})
    other = api.post(ROUTE, files={"file": ("x.png", data)}, data={"patient": "P-8"})
    assert named.status_code == 200
    assert api.get(f"/api/v1/studies/{study}").json()["patient"] == "P-7"
    assert other.status_code == 409
    assert other.headers["content-type"] == "application/problem+json"
    assert "P-7" not in other.text  # whoever guesses learns nothing


def test_what_cannot_be_read_is_a_problem_that_carries_its_record(api):
    answer = api.post(ROUTE, files={"file": ("notes.txt", b"no image")})
    problem = answer.json()
    assert answer.status_code == 422
    assert problem["status"] == 422
    assert problem["detail"].startswith("notes.txt is not an image")
    assert problem["record"]["status"] == "error"
    assert problem["record"]["decision"] is None


def test_what_the_gate_rejects_is_a_record_like_others(api):
    colour = np.zeros((80, 80, 3), np.uint8)
    colour[..., 0] = np.arange(80, dtype=np.uint8) * 3
    stream = io.BytesIO()
    Image.fromarray(colour).save(stream, "PNG")
    answer = api.post(ROUTE, files={"file": ("photo.png", stream.getvalue())})
    assert answer.status_code == 201
    assert answer.json()["decision"] == "REJECTED"
    assert answer.json()["probability"] is None


def test_too_large_a_file_is_refused_before_it_is_understood(api):
    answer = api.post(ROUTE, files={"file": ("big.png", b"\0" * (2**20 + 1))})
    assert answer.status_code == 413
    assert "1 MiB" in answer.json()["detail"]


@pytest.mark.parametrize(
    "fields",
    [
        {"patient": "x" * 257},
        {"patient": "line\nbreak"},
        {"taken_on": "yesterday"},
        {"taken_on": "2999-01-01"},
        {"taken_on": "1066-10-14"},
    ],
)
def test_what_makes_no_sense_about_an_image_is_refused(api, paint, fields):
    answer = api.post(ROUTE, files={"file": ("x.png", paint())}, data=fields)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_prediction_is_a_problem(api):
    answer = api.get(f"{ROUTE}/nowhere")
    assert answer.status_code == 404
    assert answer.json()["title"] == "Not Found"


def test_an_answer_is_a_valid_fhir_report(api, submit):
    record = submit(patient="P-1", taken_on="2026-01-31")
    answer = api.get(f"{ROUTE}/{record['id']}", headers={"Accept": "application/fhir+json"})
    assert answer.headers["content-type"] == "application/fhir+json"
    report = DiagnosticReport.model_validate(answer.json())
    observation = report.contained[0]
    assert report.status == "preliminary"
    assert float(observation.valueQuantity.value) == pytest.approx(record["probability"])
    assert report.subject.identifier.value == "P-1"
    assert "not a diagnosis" in report.conclusion


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/fhir+xml", 406), ("application/fhir+xml, application/fhir+json;q=0.5", 200)],
)
def test_fhir_comes_as_json_only(api, submit, accept, status):
    answer = api.get(f"{ROUTE}/{submit()['id']}", headers={"Accept": accept})
    assert answer.status_code == status
    assert "fhir+json" in (
        answer.json()["detail"] if status == 406 else answer.headers["content-type"]
    )


def test_a_report_is_final_once_a_person_has_read_the_study(api, submit):
    record = submit()
    api.post(
        f"/api/v1/studies/{record['study']}/readings",
        json={"verdict": "correct", "label": "PNEUMONIA"},
    )
    answer = api.get(f"{ROUTE}/{record['id']}", headers={"Accept": "application/fhir+json"})
    assert DiagnosticReport.model_validate(answer.json()).status == "final"
    assert "read it as PNEUMONIA" in answer.json()["conclusion"]


def test_a_request_without_a_stated_length_is_limited_too(server):
    boundary = b"----x"
    head = (
        b"--"
        + boundary
        + b'\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    )

    def stream():
        yield head
        for _ in range(64):
            yield b"\0" * 65536

    answer = httpx.post(
        server + ROUTE,
        content=stream(),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"},
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_nobody_foresaw_is_a_problem_with_all_headers(api, paint, monkeypatch, caplog):
    from pneumoscope.records import Intake

    def fail(*_):
        raise RuntimeError("P-secret")

    monkeypatch.setattr(Intake, "find_answer", fail)
    answer = api.post(ROUTE, files={"file": ("x.png", paint())})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "P-secret" not in answer.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk of the record is full"),
        (OperationalError("INSERT", {}, Exception("connection refused")), "database does not"),
    ],
)
def test_a_full_disk_and_a_database_that_is_away_are_said_and_passing(
    api, paint, monkeypatch, error, said
):
    from pneumoscope.records.content_store import ContentStore

    def fail(*_):
        raise error

    monkeypatch.setattr(ContentStore, "put", fail)
    answer = api.post(ROUTE, files={"file": ("x.png", paint())})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert said in answer.json()["detail"]


def test_an_archive_is_told_where_it_belongs(api):
    answer = api.post(ROUTE, files={"file": ("many.zip", b"PK\x03\x04" + b"\0" * 60)})
    assert answer.status_code == 422
    assert "/api/v1/jobs" in answer.json()["detail"]


def test_a_second_image_is_not_passed_over(api, paint):
    files = [("file", ("a.png", paint())), ("file", ("b.png", paint()))]
    answer = api.post(ROUTE, files=files)
    assert answer.status_code == 422
    assert "/api/v1/jobs" in answer.json()["detail"]

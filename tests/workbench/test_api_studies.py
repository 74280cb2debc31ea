"""The worklist, pictures and readings for programs."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from pneumoscope import images


def test_a_study_shows_its_answer_and_the_patients_others(api, submit):
    first = submit(patient="P-prior", taken_on="2025-01-02")
    second = submit(patient="P-prior", taken_on="2026-01-02")
    shown = api.get(f"/api/v1/studies/{second['study']}").json()
    assert shown["prediction"] == second["id"]
    assert [prior["id"] for prior in shown["priors"]] == [first["study"]]
    assert shown["readings"] == []


def test_the_worklist_is_searched_and_paged(api, submit):
    studies = [submit(patient=f"P-page-{n}")["study"] for n in range(3)]
    found = api.get("/api/v1/studies", params={"text": "p-page", "limit": 2}).json()
    rest = api.get("/api/v1/studies", params={"text": "p-page", "limit": 2, "offset": 2}).json()
    assert found["total"] == rest["total"] == 3
    assert {s["id"] for s in found["studies"] + rest["studies"]} == set(studies)


def test_the_worklist_begins_with_what_is_urgent(api, submit):
    submit()
    order = ["PNEUMONIA", "REFER"]
    shown = api.get("/api/v1/studies", params={"limit": 500}).json()["studies"]
    places = [order.index(s["decision"]) if s["decision"] in order else 2 for s in shown]
    assert places == sorted(places)


def test_the_image_comes_back_as_it_was_sent(api, paint):
    data = paint()
    record = api.post("/api/v1/predictions", files={"file": ("x.png", data)}).json()
    answer = api.get(f"/api/v1/studies/{record['study']}/image")
    assert answer.content == data
    assert answer.headers["content-disposition"].startswith("attachment")


def test_pixels_come_at_full_depth(api, rng):
    deep = rng.integers(0, 4096, (90, 70)).astype(np.uint16) * 16
    stream = io.BytesIO()
    Image.fromarray(deep).save(stream, "PNG")
    record = api.post("/api/v1/predictions", files={"file": ("x.png", stream.getvalue())}).json()
    answer = api.get(f"/api/v1/studies/{record['study']}/pixels")
    width, height, bits = (int(answer.headers[f"x-{n}"]) for n in ("width", "height", "bits"))
    expected = images.read(stream.getvalue())
    assert (width, height, bits) == (70, 90, expected.bits)
    pixels = np.frombuffer(answer.content, "<u2").reshape(height, width)
    np.testing.assert_array_equal(pixels, expected.pixels)
    assert answer.headers["cache-control"] == "no-store"  # whoever signs in next finds nothing


def test_thumbnails_are_small_and_drawn_once(api, submit, shared_service):
    study = submit()["study"]
    first = api.get(f"/api/v1/studies/{study}/thumbnail.jpg")
    assert Image.open(io.BytesIO(first.content)).size == (80, 80)
    assert list((shared_service.record.folder / "previews").rglob("*.jpg"))
    assert api.get(f"/api/v1/studies/{study}/thumbnail.jpg").content == first.content


def test_heat_maps_lie_on_the_image(api, submit):
    record = submit()
    overlay = api.get(f"/api/v1/predictions/{record['id']}/heatmap.png")
    picture = api.get(f"/api/v1/predictions/{record['id']}/heatmap.jpg")
    shown = Image.open(io.BytesIO(overlay.content))
    assert (shown.mode, shown.size) == ("RGBA", (80, 80))
    assert Image.open(io.BytesIO(picture.content)).size[0] >= 80


def test_a_rejected_image_has_no_heat_map(api):
    stream = io.BytesIO()
    Image.fromarray(np.full((80, 80), 7, np.uint8)).save(stream, "PNG")
    record = api.post("/api/v1/predictions", files={"file": ("x.png", stream.getvalue())}).json()
    assert record["decision"] == "REJECTED"
    assert api.get(f"/api/v1/predictions/{record['id']}/heatmap.png").status_code == 404


def test_a_reading_stands_beside_the_answer(api, submit):
    record = submit()
    said = {"verdict": "correct", "label": "NORMAL", "comment": "Thymus."}
    answer = api.post(f"/api/v1/studies/{record['study']}/readings", json=said)
    assert answer.status_code == 201
    assert answer.json()["reader"] == "local"
    shown = api.get(f"/api/v1/studies/{record['study']}").json()
    assert [r["comment"] for r in shown["readings"]] == ["Thymus."]
    assert shown["decision"] == record["decision"]  # the model's answer is never overwritten


@pytest.mark.parametrize(
    "said",
    [
        {"verdict": "correct"},
        {"verdict": "maybe"},
        {"verdict": "comment", "comment": "  "},
        {"verdict": "correct", "label": "TUBERCULOSIS"},
        {"verdict": "comment", "comment": "x" * 5000},
        {"verdict": "comment", "comment": "Seen.", "label": "NORMAL"},
    ],
)
def test_a_reading_that_says_nothing_is_refused(api, submit, said):
    answer = api.post(f"/api/v1/studies/{submit()['study']}/readings", json=said)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", "/api/v1/studies?limit=100000", None, "limit in the query must be less than or"),
        ("GET", "/api/v1/studies?limit=many", None, "limit in the query must be a valid integer;"),
        ("POST", "/api/v1/studies/{id}/readings", {}, "verdict in the body is missing;"),
        ("POST", "/api/v1/studies/{id}/readings", {"verdict": "?"}, "body must be 'agree', 'corr"),
        ("POST", "/api/v1/studies/{id}/readings", [], "the body must be a JSON object"),
        ("POST", "/api/v1/predictions", None, "file in the body is missing;"),
        ("POST", "/api/v1/predictions", {"file": 1}, "file in the body"),
    ],
)
def test_a_request_that_is_not_as_described_is_refused_in_a_sentence(
    api, submit, method, path, body, said
):
    answer = api.request(method, path.replace("{id}", submit()["study"]), json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert answer.json()["detail"].endswith(
        "the API's description at /api/v1/docs says what is taken."
    )


def test_readings_are_exported_as_a_labelled_manifest(api, submit):
    record = submit()
    said = {"verdict": "correct", "label": "PNEUMONIA"}
    api.post(f"/api/v1/studies/{record['study']}/readings", json=said)
    answer = api.get("/api/v1/readings/export")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    rows = list(csv.DictReader(io.TextIOWrapper(archive.open("manifest.csv"), "utf-8")))
    mine = [row for row in rows if row["study"] == record["study"]]
    assert [row["label"] for row in mine] == ["PNEUMONIA"]
    assert archive.read(mine[0]["path"])


def test_a_deleted_study_is_gone_with_its_image(api, submit, shared_service):
    record = submit()
    assert api.delete(f"/api/v1/studies/{record['study']}").status_code == 204
    assert api.get(f"/api/v1/studies/{record['study']}").status_code == 404
    assert not shared_service.record.images.holds(record["sha256"])
    assert api.delete(f"/api/v1/studies/{record['study']}").status_code == 404


def test_the_model_and_the_service_say_what_they_are(api, shared_service):
    model = api.get("/api/v1/model").json()
    assert model["bundle"] == shared_service.predictor.bundle.sha256
    assert "not a diagnosis" in model["notice"]
    assert api.get("/api/v1/health").json()["status"] == "ok"
    assert api.get("/api/v1/ready").json() == {"status": "ready"}


def test_metrics_count_requests_by_pattern_and_answers_by_decision(api, submit):
    study = submit()["study"]
    api.get(f"/api/v1/studies/{study}")
    text = api.get("/api/v1/metrics").text
    assert 'route="/api/v1/studies/{study_id}"' in text
    assert study not in text
    assert "pneumoscope_answers_total" in text


def test_watchers_hear_of_studies_as_they_change(shared_service, submit):
    import asyncio

    heard: list[str] = []
    ready = threading.Event()

    async def watch() -> None:
        async for study in shared_service.events.watch(pause=0.2):
            if study:
                heard.append(study)
                return
            ready.set()

    listener = threading.Thread(target=lambda: asyncio.run(watch()))
    listener.start()
    assert ready.wait(10)
    study = submit()["study"]
    listener.join(10)
    assert heard == [study]


def test_the_description_is_complete(api):
    described = api.get("/api/v1/openapi.json").json()
    assert json.dumps(described).count("not a diagnosis") >= 1
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), f"{method} {path}"
            assert operation.get("tags"), f"{method} {path}"


@pytest.mark.parametrize("route", ["predictions", "jobs"])
def test_a_dicom_file_says_itself_whose_it_is_and_when_it_was_taken(api, rng, make_dicom, route):
    key = f"OWN-{route}"
    pixels = rng.integers(0, 65536, (80, 80)).astype(np.uint16)
    data = make_dicom(pixels, PatientID=key, StudyDate="20260131", Modality="DX")
    field = "file" if route == "predictions" else "files"
    api.post(
        f"/api/v1/{route}", files=[(field, ("x.dcm", data))], data={"patient": f"typed-{route}"}
    )
    for _ in range(200):
        found = api.get("/api/v1/studies", params={"text": key}).json()["studies"]
        if found:
            break
        time.sleep(0.05)
    assert [(s["patient"], s["taken_on"]) for s in found] == [(key, "2026-01-31")]
    again = api.post(
        f"/api/v1/{route}", files=[(field, ("x.dcm", data))], data={"patient": f"typed-{route}"}
    )
    assert again.status_code in {200, 202}
    assert not again.json().get("errors")
    assert api.get("/api/v1/studies", params={"text": f"typed-{route}"}).json()["total"] == 0


def test_what_nobody_can_see_gets_no_label(api):
    job = api.post("/api/v1/jobs", files=[("files", ("torn.png", b"\x89PNG\r\n\x1a\n..."))]).json()
    study = job["studies"][0]["id"]
    for _ in range(200):
        if api.get(f"/api/v1/studies/{study}").json()["state"] == "done":
            break
        time.sleep(0.05)
    route = f"/api/v1/studies/{study}/readings"
    refused = api.post(route, json={"verdict": "correct", "label": "NORMAL"})
    assert refused.status_code == 422
    assert "comment on it only" in refused.json()["detail"]
    assert api.post(route, json={"verdict": "comment", "comment": "Torn."}).status_code == 201


def test_a_body_that_is_no_json_is_named(api, submit):
    answer = api.post(
        f"/api/v1/studies/{submit()['study']}/readings",
        content=b'{"verdict": ',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert "the body is no JSON" in answer.json()["detail"]

"""Many images in, answered in their turn."""

from __future__ import annotations

import io
import time
import zipfile

import pytest

ROUTE = "/api/v1/jobs"


def _wait(api, job: str) -> dict:
    for _ in range(400):
        state = api.get(f"{ROUTE}/{job}").json()
        if state["done"] == state["total"]:
            return state
        time.sleep(0.05)
    raise AssertionError(f"not done in time: {state}")


def _zip(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def test_every_image_of_a_job_is_answered(api, paint):
    files = [("files", (f"{n}.png", paint())) for n in range(5)]
    answer = api.post(ROUTE, files=files, data={"patient": "P-job"})
    job = answer.json()
    assert answer.status_code == 202
    assert [study["name"] for study in job["studies"]] == [f"{n}.png" for n in range(5)]
    state = _wait(api, job["id"])
    assert state["total"] == 5
    assert all(study["status"] in {"ok", "rejected"} for study in state["studies"])
    assert {study["patient"] for study in state["studies"]} == {"P-job"}


def test_an_archive_is_unpacked_and_its_names_are_labels_only(api, paint, tmp_path):
    data = _zip({"../../evil.png": paint(), "folder/b.png": paint(), "__MACOSX/._b.png": b"x"})
    job = api.post(ROUTE, files=[("files", ("many.zip", data))]).json()
    assert [study["name"] for study in job["studies"]] == ["evil.png", "b.png"]
    assert not list(tmp_path.parent.rglob("evil.png"))
    assert _wait(api, job["id"])["done"] == 2


def test_what_cannot_be_read_does_not_hinder_the_others(api, paint):
    files = [
        ("files", ("a.png", paint())),
        ("files", ("b.txt", b"no")),
        ("files", ("c.png", paint())),
    ]
    job = api.post(ROUTE, files=files).json()
    state = _wait(api, job["id"])
    assert {study["name"]: study["status"] for study in state["studies"]}["b.txt"] == "error"
    assert sum(study["status"] != "error" for study in state["studies"]) == 2


def test_a_known_image_is_named_but_not_answered_again(api, submit, paint):
    data = paint()
    first = api.post("/api/v1/predictions", files={"file": ("x.png", data)}).json()
    job = api.post(ROUTE, files=[("files", ("y.png", data))]).json()
    assert job["studies"] == [
        {"id": first["study"], "name": "y.png", "prediction": first["id"], "new": False}
    ]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("bomb.zip", _zip({"a.png": b"\0" * 30_000_000}), "1 MiB|bomb"),
        ("torn.zip", _zip({"a.png": b"abc"})[:-20], "damaged"),
        ("empty.zip", _zip({}), "no files"),
        ("outer.zip", _zip({"inner.zip": _zip({"a.png": b"abc"})}), "inner.zip is an archive with"),
        ("large.png", b"\0" * (2**20 + 1), "1 MiB"),
    ],
)
def test_hostile_files_are_errors_beside_their_names(api, name, data, said):
    import re

    answer = api.post(ROUTE, files=[("files", (name, data))])
    assert answer.status_code == 202
    assert answer.json()["studies"] == []
    assert answer.json()["id"] is None  # nothing is to be asked about
    assert re.search(said, answer.json()["errors"][0]["message"])


def test_a_job_without_files_is_refused(api):
    answer = api.post(ROUTE, data={"patient": "P"})
    assert answer.status_code == 422
    assert "files" in answer.json()["detail"]


def test_a_job_of_known_images_alone_can_be_asked_for(api, paint):
    data = paint()
    api.post("/api/v1/predictions", files={"file": ("x.png", data)})
    job = api.post(ROUTE, files=[("files", ("y.png", data))]).json()
    state = api.get(f"{ROUTE}/{job['id']}").json()
    assert (state["total"], state["done"]) == (1, 1)

"""The whole service behind its checks: every route, and what its log tells."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.testclient import TestClient

from pneumoscope.workbench import Service, create_app
from pneumoscope.workbench.security import PUBLIC_PATHS, PUBLIC_PREFIX

NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def service(bundle, record, hospital, people) -> Iterator[Service]:
    settings = replace(hospital, record=record.folder, bundle=bundle, precision="fp32", decoders=1)
    with Service(settings) as opened:
        yield opened


def _list_routes(app: FastAPI) -> set[tuple[str, str]]:
    """Return every method and path of an application, an id in place of each parameter."""
    found = set()
    for route in iter_route_contexts(app.routes):
        path = re.sub(r"\{[^}]+\}", NOBODYS, str(route.path))
        if isinstance(route.original_route, Mount):
            path += "/nothing"
        found |= {(method, path) for method in route.methods or {"GET"}}
    return found


def test_every_route_of_the_service_is_closed_to_strangers(service):
    app = create_app(service)
    client = TestClient(app, base_url="https://xray.example", follow_redirects=False)
    routes = _list_routes(app)
    opened = {path for method, path in routes if client.request(method, path).status_code != 401}
    assert {
        ("GET", "/"),
        ("POST", "/api/v1/jobs"),
        ("DELETE", f"/api/v1/studies/{NOBODYS}"),
    } < routes
    assert len(routes) > 25
    assert opened <= {*PUBLIC_PATHS, f"{PUBLIC_PREFIX}nothing"}
    assert "/api/v1/health" in opened


def test_a_reader_cannot_do_what_an_admin_can(service, people):
    client = TestClient(create_app(service), base_url="https://xray.example")
    by = {name: {"Authorization": f"Bearer {secret}"} for name, secret in people.items()}
    path = f"/api/v1/studies/{NOBODYS}"
    assert client.delete(path, headers=by["robot"]).status_code == 403
    assert client.delete(path, headers=by["root"]).status_code == 404


def test_the_log_of_a_session_names_no_patient_and_no_file(service, sign_in, people, paint, caplog):
    caplog.set_level(logging.DEBUG)
    client = TestClient(create_app(service), base_url="https://xray.example")
    sign_in(client)
    page = client.get("/").text
    csrf = {"X-CSRF-Token": page.split('name="csrf-token" content="')[1].split('"')[0]}
    fields = {"patient": "MRN-4711", "taken_on": "2026-01-31"}
    for name, data in (("meier-anton.png", paint()), ("broken-meier.png", b"no image")):
        sent = client.post(
            "/api/v1/predictions", files={"file": (name, data)}, data=fields, headers=csrf
        )
        assert sent.status_code in {201, 422}, sent.text
    study = client.get("/api/v1/studies?text=meier-anton").json()["studies"][0]
    client.get(f"/studies/{study['id']}")
    client.post(
        f"/api/v1/studies/{study['id']}/readings",
        json={"verdict": "comment", "comment": "Anton Meier again"},
        headers=csrf,
    )
    client.delete(f"/api/v1/studies/{study['id']}", headers=csrf)
    client.get("/nowhere?patient=MRN-4711")
    told = [
        f"{entry.getMessage()} {entry.exc_text or ''}"
        for entry in caplog.records
        if not entry.name.startswith(("httpx", "httpcore"))  # the client's own
    ]
    for secret in ("MRN-4711", "meier", "Meier", "2026-01-31"):
        assert not [line for line in told if secret in line]

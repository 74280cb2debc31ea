"""The API keeps its own description, whatever is sent (Schemathesis makes the requests)."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from pneumoscope.workbench import Service, create_app
from pneumoscope.workbench.api import schemas

HOST = {"Host": "127.0.0.1:8000"}
OPERATIONS = [
    "GET /api/v1/health",
    "GET /api/v1/jobs/{job_id}",
    "GET /api/v1/metrics",
    "GET /api/v1/model",
    "GET /api/v1/predictions/{prediction_id}",
    "GET /api/v1/predictions/{prediction_id}/heatmap.jpg",
    "GET /api/v1/predictions/{prediction_id}/heatmap.png",
    "GET /api/v1/readings/export",
    "GET /api/v1/ready",
    "GET /api/v1/studies",
    "GET /api/v1/studies/{study_id}",
    "GET /api/v1/studies/{study_id}/image",
    "GET /api/v1/studies/{study_id}/pixels",
    "GET /api/v1/studies/{study_id}/thumbnail.jpg",
    "DELETE /api/v1/studies/{study_id}",
    "POST /api/v1/jobs",
    "POST /api/v1/predictions",
    "POST /api/v1/studies/{study_id}/readings",
]
#: A stream that does not end cannot be read to its end.
ENDLESS = "GET /api/v1/events"


@pytest.fixture(scope="session")
def schema(shared_service: Service):
    app = create_app(shared_service)
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=HOST)


def test_every_route_is_asked(schema):
    described = {
        f"{method.upper()} {path}"
        for path, methods in schema.raw_schema["paths"].items()
        for method in methods
    }
    assert described == {*OPERATIONS, ENDLESS}


def test_every_json_answer_has_an_example_that_fits_it(schema):
    components = schema.raw_schema["components"]["schemas"]
    for path, methods in schema.raw_schema["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                content = answer.get("content", {})
                for kind in {"application/json", "application/problem+json"} & set(content):
                    where = (method, path, status, kind)
                    name = content[kind]["schema"].get("$ref", "").rpartition("/")[2]
                    example = content[kind].get("example") or components[name]["example"]
                    described = getattr(schemas, name or "ProblemOut")
                    assert described.model_validate(example), where


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_route_answers_as_described(schema, operation):
    method, path = operation.split()
    # Bytes that are no image, and readings of nothing, fit the description and are refused.
    excluded = [positive_data_acceptance] if method == "POST" else []

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy())
    def ask(case):
        case.call_and_validate(headers=HOST, excluded_checks=excluded)

    ask()

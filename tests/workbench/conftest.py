"""A service on a small model, and what asks it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from pneumoscope.workbench import Limits, Service, Settings, create_app

Paint = Callable[[], bytes]


@pytest.fixture(scope="session")
def paint() -> Paint:
    """Return another grey PNG each time, none of which the small model rejects."""
    rng = np.random.default_rng(20261128)

    def draw() -> bytes:
        noise = rng.integers(0, 256, (80, 80), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noise).save(stream, "PNG")
        return stream.getvalue()

    return draw


@pytest.fixture(scope="session")
def shared_service(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that tests share: each looks only at what it sent itself."""
    settings = Settings(
        record=tmp_path_factory.mktemp("service") / "record",
        bundle=bundle,
        precision="fp32",
        decoders=1,
        limits=Limits(file_bytes=2**20, requests_per_minute=1_000_000),
    )
    with Service(settings) as service:
        yield service


@pytest.fixture(scope="session")
def api(shared_service: Service) -> Iterator[TestClient]:
    """What asks the shared service, as a program on the same machine."""
    with TestClient(create_app(shared_service), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture(scope="session")
def server(shared_service: Service) -> Iterator[str]:
    """The address of the shared service behind a real web server."""
    config = uvicorn.Config(
        create_app(shared_service), port=0, log_config=None, lifespan="off", access_log=False
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    thread.join()


@pytest.fixture
def submit(api: TestClient, paint: Paint) -> Callable[..., dict[str, Any]]:
    """Submit a new image, and return its record."""

    def send(**fields: str) -> dict[str, Any]:
        answer = api.post(
            "/api/v1/predictions", files={"file": ("chest.png", paint())}, data=fields
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    return send

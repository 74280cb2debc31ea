"""A small application behind all checks, with a record of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import pytest
from argon2 import PasswordHasher
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from pneumoscope.records import Record, Role, accounts, add_user, create_token
from pneumoscope.workbench.security import Identity, add_security, identity, require
from pneumoscope.workbench.settings import Limits, Settings

PASSWORD = "four words in a row"
HOSPITAL = Settings(host="0.0.0.0", certificate=Path("tls.crt"), allowed_hosts=("xray.example",))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash cheaply, and look at the record with every request."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_make_hasher", lambda: hasher)
    monkeypatch.setattr(identity, "_KNOWN_SECONDS", 0.0)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty record, to be copied: tables take a while to make."""
    folder = tmp_path_factory.mktemp("empty") / "record"
    Record(folder).close()
    return folder


@pytest.fixture
def record(empty: Path, tmp_path: Path) -> Iterator[Record]:
    """An empty record."""
    with Record(shutil.copytree(empty, tmp_path / "record")) as opened:
        yield opened


@pytest.fixture
def people(record: Record) -> dict[str, str]:
    """An admin and a reader who sign in with `PASSWORD`, and a token of each role, by name."""

    def add(session: Any) -> dict[str, str]:
        add_user(session, "anna", PASSWORD, Role.ADMIN)
        add_user(session, "ben", PASSWORD, Role.READER)
        return {
            "robot": create_token(session, "robot", Role.READER),
            "root": create_token(session, "root", Role.ADMIN),
        }

    return record.write(add)


@pytest.fixture
def serve(record: Record) -> Iterator[Callable[..., TestClient]]:
    """Return a client of the small application under these settings, and at this address."""
    with ExitStack() as stack:

        def serve(
            settings: Settings = HOSPITAL,
            *,
            url: str = "https://xray.example",
            address: str = "192.0.2.7",
            app: FastAPI | None = None,
        ) -> TestClient:
            served = app or make_app(settings, record)
            client = TestClient(
                served, base_url=url, client=(address, 50000), follow_redirects=False
            )
            return stack.enter_context(client)

        yield serve


@pytest.fixture
def few() -> Settings:
    """The hospital's settings, with ten requests a minute and one of somebody unknown."""
    return Settings(
        host=HOSPITAL.host,
        certificate=HOSPITAL.certificate,
        allowed_hosts=HOSPITAL.allowed_hosts,
        limits=Limits(requests_per_minute=10),
    )


@pytest.fixture
def hospital() -> Settings:
    """A service that others reach, with TLS."""
    return HOSPITAL


@pytest.fixture
def password() -> str:
    return PASSWORD


@pytest.fixture
def build(record: Record) -> Callable[[Settings], FastAPI]:
    """Return the small application, to be served to several clients."""
    return lambda settings: make_app(settings, record)


@pytest.fixture
def sign_in() -> Callable[..., Any]:
    """Send the sign-in form as a browser does."""

    def sign_in(client: TestClient, name: str = "anna", password: str = PASSWORD, **more: str):
        return client.post(
            "/sign-in",
            data={"name": name, "password": password, **more},
            headers={"Accept": "text/html,*/*", "Origin": str(client.base_url)},
        )

    return sign_in


def make_app(settings: Settings, record: Record) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    @app.get("/api/v1/studies")
    @app.get("/api/v1/events")
    @app.post("/api/v1/studies")
    def tell(request: Request) -> dict[str, Any]:
        asking: Identity = request.state.identity
        return {
            "name": asking.name,
            "role": asking.role,
            "csrf": asking.csrf,
            "authenticated": asking.authenticated,
        }

    @app.delete("/api/v1/studies")
    def delete(asking: Annotated[Identity, Depends(require(Role.ADMIN))]) -> str:
        return asking.name

    @app.get("/api/v1/health")
    @app.get("/sign-in")
    @app.get("/static/app.js")
    def show(request: Request) -> str:
        return request.state.identity.name

    add_security(app, settings, record)
    return app

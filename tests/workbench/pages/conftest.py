"""A workbench on the model in the box, with a record whose answers are known."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.testclient import TestClient

from pneumoscope.records import Role, Study, Submission, add_user, ask, conclude, file_study
from pneumoscope.runtime import Decision, Finding, Predictor, Status, WarningCode
from pneumoscope.workbench import Service, Settings, create_app

File = Callable[..., str]
PASSWORD = "a long enough sentence"
# A page that is slow because the machine is busy is no error.
expect.set_options(timeout=30_000)
_QUIET = (
    "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-default-apps", "--no-first-run",
)  # fmt: skip


def paint_image(seed: int, bits: int = 8) -> bytes:
    """Return a grey PNG of 96 × 64 pixels."""
    rng = np.random.default_rng(seed)
    kind = np.uint8 if bits == 8 else np.uint16
    return encode(rng.integers(0, 2**bits, (64, 96)).astype(kind))


def encode(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return uint8 or uint16 pixels as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def make_finding(
    predictor: Predictor,
    name: str,
    decision: Decision | None,
    probability: float | None,
    **more: Any,
) -> Finding:
    """Return an answer that the model in the box might have given."""
    status = Status.OK
    if probability is None:
        status = Status.REJECTED if decision else Status.ERROR
    facts: dict[str, Any] = {
        "message": f"{decision or 'unreadable'} for a reason.",
        "threshold": predictor.threshold,
        "rule_out": predictor.rule_out,
        "rule_in": predictor.rule_in,
        "operating_point": predictor.operating_point,
        "precision": predictor.precision,
        "bundle": predictor.bundle.sha256,
    }
    if probability is not None:
        facts["logit"] = 0.0
        facts["activation_map"] = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
    return Finding(
        path=name, status=status, decision=decision, probability=probability, **(facts | more)
    )


def make_filer(service: Service) -> File:
    """Return a function that files an answered study, and returns its id."""

    def file(
        name: str,
        decision: Decision | None,
        probability: float | None = None,
        *,
        patient: str | None = None,
        days: float = 0,
        taken_on: date | None = None,
        bits: int = 8,
        data: bytes | None = None,
        inputs: dict[str, float] | None = None,
        warnings: tuple[WarningCode, ...] = (),
    ) -> str:
        data = data or paint_image(len(name), bits)
        sha256 = service.record.images.put(data)
        finding = make_finding(
            service.predictor, name, decision, probability, inputs=inputs, warnings=warnings
        )
        sent = Submission(
            sha256, len(data), name, "ben", patient=patient, taken_on=taken_on, again=True
        )
        with service.record.begin() as session:
            study = file_study(session, sent)
            prediction, _ = ask(session, study, service.terms, "ben")
            conclude(session, prediction, finding, {"total": 20.0})
            moment = datetime.now(UTC) - timedelta(days=days)
            study.received_at = prediction.answered_at = moment
            return study.id

    return file


def open_service(folder: Path) -> Service:
    """Open a service on the model in the box."""
    return Service(Settings(record=folder / "record", precision="fp32", decoders=1))


@pytest.fixture(scope="session")
def start() -> Callable[[Path], tuple[Service, File]]:
    """Open another service, and what files answers in its record."""

    def open_both(folder: Path) -> tuple[Service, File]:
        service = open_service(folder)
        return service, make_filer(service)

    return open_both


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with an empty record; tests of one module share it."""
    with open_service(tmp_path_factory.mktemp("pages")) as opened:
        yield opened


@pytest.fixture(scope="module")
def file(service: Service) -> File:
    """File an answered study."""
    return make_filer(service)


@pytest.fixture(scope="module")
def ward(file: File) -> dict[str, str]:
    """Studies of every kind, by name, and more than one page of them."""
    named = {
        "urgent": file("urgent.png", Decision.PNEUMONIA, 0.97, patient="MRN-1", bits=16),
        "older": file(
            "older.png", Decision.PNEUMONIA, 0.9, patient="MRN-1", days=3, taken_on=date(2026, 3, 4)
        ),
        "unsure": file(
            "unsure.png", Decision.REFER, 0.6, warnings=(WarningCode.OUTSIDE_POPULATION,)
        ),
        "clear": file("clear.png", Decision.NORMAL, 0.04, patient="MRN-2"),
        "script": file("<script>alert(1)</script>.png", Decision.NORMAL, 0.05, days=1),
        "rejected": file("colour.png", Decision.REJECTED),
        "unreadable": file("broken.png", None),
    }
    for number in range(50):
        file(f"routine-{number:02}.png", Decision.NORMAL, 0.03, days=2)
    return named


@pytest.fixture
def waiting(service: Service) -> str:
    """The id of a study that has no answer."""
    data = paint_image(3)
    sha256 = service.record.images.put(data)
    with service.record.begin() as session:
        sent = Submission(sha256, len(data), "waiting.png", "ben", again=True)
        return file_study(session, sent).id


@pytest.fixture
def answer(service: Service) -> Callable[..., None]:
    """Give a study an answer, and tell who looks; `bundle` names another model."""

    def give(
        study_id: str, decision: Decision | None, probability: float | None = None, bundle: str = ""
    ) -> None:
        terms = replace(service.terms, bundle=bundle or service.terms.bundle)
        finding = make_finding(service.predictor, "waiting.png", decision, probability)
        with service.record.begin() as session:
            prediction, _ = ask(session, session.get_one(Study, study_id), terms, "ben")
            conclude(session, prediction, finding, {"total": 20.0})
        service.events.publish([study_id])

    return give


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    """A browser without scripts, on the machine of the service."""
    headers = {"accept": "text/html"}
    app = create_app(service)
    with TestClient(app, base_url="http://127.0.0.1:8000", headers=headers) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    """Where the service answers real browsers."""
    with _listen(service) as found:
        yield found


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, File]]:
    """Where a service answers that knows grace, an admin, and ben, a reader; and what files there.

    Both have the password `PASSWORD`.
    """
    with open_service(tmp_path) as opened:
        with opened.record.begin() as session:
            add_user(session, "grace", PASSWORD, Role.ADMIN)
            add_user(session, "ben", PASSWORD, Role.READER)
        with _listen(opened) as found:
            yield found, make_filer(opened)


@contextmanager
def _listen(service: Service) -> Iterator[str]:
    config = uvicorn.Config(
        create_app(service), port=0, log_config=None, lifespan="off", access_log=False,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")  # its event loop runs in this thread, where others want theirs
def browser() -> Iterator[Browser]:
    """Chromium, where `PNEUMOSCOPE_CHROMIUM` or the path has one."""
    path = os.environ.get("PNEUMOSCOPE_CHROMIUM") or shutil.which("chromium")
    if path is None:
        reason = "no chromium; name one by PNEUMOSCOPE_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; packages.apt names what the build machine needs")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*_QUIET])
        yield chromium
        chromium.close()


@pytest.fixture(params=[1280], ids=str)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page in which no script fails and no policy is broken."""
    context = browser.new_context(viewport={"width": request.param, "height": 844})
    context.add_init_script(
        "window.broken = []; document.addEventListener('securitypolicyviolation', "
        "(event) => window.broken.push(`${event.violatedDirective} ${event.blockedURI}`));"
    )
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    failures: list[str] = []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    yield opened
    failures += opened.evaluate("window.broken ?? []")
    context.close()
    assert failures == []

"""The client against a real server: answers as if the model were here, errors in a sentence."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typer.testing import CliRunner

from pneumoscope.cli import app
from pneumoscope.client import Client
from pneumoscope.errors import ImageError, OverloadedError, ServiceError
from pneumoscope.runtime import load


@pytest.fixture
def client(server):
    with Client(server) as client:
        yield client


@pytest.fixture
def file(paint, tmp_path):
    path = tmp_path / "chest.png"
    path.write_bytes(paint())
    return path


def test_a_served_answer_is_that_of_the_model_itself(client, file, bundle):
    served = client.predict(file, patient="P-client")
    alone = load(bundle).predict(file)
    assert served.finding.decision is alone.decision
    assert served.finding.probability == pytest.approx(alone.probability, abs=1e-6)
    assert client.show(served.id)["study"] == served.study
    assert client.list_studies(text="P-client")["total"] == 1


def test_many_images_are_sent_as_a_job(client, file):
    job = client.submit([file], patient="P-many")
    assert [study["name"] for study in job["studies"]] == ["chest.png"]


def test_what_cannot_be_read_is_an_image_error(client, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ImageError, match=r"notes\.txt is not an image"):
        client.predict(tmp_path / "notes.txt")
    with pytest.raises(ImageError, match="cannot be read"):
        client.predict(tmp_path / "absent.png")


def test_a_service_that_is_not_there_is_an_error_in_a_sentence():
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ServiceError, match=r"^http://127\.0\.0\.1:9 cannot be reached"),
    ):
        client.show_model()
    with pytest.raises(ServiceError, match="begins with http"):
        Client("127.0.0.1:8000")


class _Busy(BaseHTTPRequestHandler):
    refusals = 2
    seen = 0

    def do_GET(self):
        type(self).seen += 1
        refused = type(self).seen <= self.refusals
        body = json.dumps({"detail": "busy", "status": 503} if refused else {"name": "m"}).encode()
        self.send_response(503 if refused else 200)
        self.send_header("Retry-After", "0.01")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def busy():
    class Busy(_Busy):
        pass

    server = HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Busy
    server.shutdown()
    server.server_close()


def test_the_client_comes_back_when_it_is_told_to(busy):
    address, handler = busy
    with Client(address) as client:
        assert client.show_model() == {"name": "m"}
    assert handler.seen == 3


def test_the_client_does_not_come_back_for_ever(busy):
    address, handler = busy
    handler.refusals = 100
    with Client(address) as client, pytest.raises(OverloadedError, match="busy"):
        client.show_model()


def test_predict_asks_a_service(server, file, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"junk")
    answer = CliRunner().invoke(
        app, ["predict", str(tmp_path), "--server", server, "--format", "jsonl", "--quiet"]
    )
    records = [json.loads(line) for line in answer.stdout.splitlines()]
    assert answer.exit_code == 1  # one file failed
    assert [record["path"] for record in records] == [str(tmp_path / "bad.png"), str(file)]
    assert records[0]["status"] == "error"
    assert records[1]["decision"] in {"NORMAL", "PNEUMONIA", "REFER"}


@pytest.mark.parametrize("option", [["--precision", "int8"], ["--heatmaps", "out"]])
def test_what_the_service_decides_cannot_be_said_here(server, file, option):
    answer = CliRunner().invoke(app, ["predict", str(file), "--server", server, *option])
    assert isinstance(answer.exception, Exception)
    assert "the service of --server has its own" in str(answer.exception)


@pytest.mark.parametrize("token", ["schlüssel", "two\nlines"])
def test_a_token_that_is_none_is_refused_without_being_shown(monkeypatch, token):
    monkeypatch.setenv("PNEUMOSCOPE_TOKEN", token)
    with pytest.raises(ServiceError, match="one line of plain letters") as refusal:
        Client("http://127.0.0.1:9")
    assert token not in str(refusal.value)

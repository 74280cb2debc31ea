"""HTTPS by certificate files: a real service, and clients that take the wrong door."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from pneumoscope.client import Client
from pneumoscope.errors import ServiceError

COMMAND = Path(sys.executable).with_name("pneumoscope")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the service's certificate."""
    return trustme.CA()


@pytest.fixture(scope="module")
def address(authority, bundle, tmp_path_factory) -> Iterator[str]:
    """The address of a service behind a certificate."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "chain.pem", append=True)
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", "--record", folder / "record", "--bundle", bundle,
         "--precision", "fp32", "--decoders", "1", "--certificate", folder / "chain.pem",
         "--private-key", folder / "key.pem"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    found = re.search(r"https://[\d.:]+", process.stderr.readline())
    try:
        assert found, process.stderr.read()
        yield found[0]
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch) -> None:
    """Whoever signed the certificate is trusted, as an administrator sets it."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


def test_an_image_is_answered_over_https(address, trusted, paint):
    with Client(address) as client:
        answer = client.predict(paint(), name="chest.png")
        assert client.show(answer.id)["state"] == "done"


def test_a_certificate_that_nobody_trusts_is_refused_with_advice(address):
    with Client(address) as client, pytest.raises(ServiceError, match="set SSL_CERT_FILE to"):
        client.show_model()


def test_plain_http_at_a_door_of_https_is_named(address, trusted):
    with (
        Client(address.replace("https", "http")) as client,
        pytest.raises(ServiceError, match="begin the address with https://"),
    ):
        client.show_model()


def test_https_at_a_door_of_plain_http_is_named(server):
    with (
        Client(server.replace("http", "https")) as client,
        pytest.raises(ServiceError, match="begin the address with http://"),
    ):
        client.show_model()


def test_a_path_that_the_service_does_not_have_is_named(server):
    with (
        Client(f"{server}/pneumoscope") as client,
        pytest.raises(ServiceError, match=r"not the address .* leave out /pneumoscope"),
    ):
        client.show_model()


def test_a_key_with_a_password_is_refused_without_asking_for_it(authority, tmp_path):
    issued = authority.issue_cert("localhost")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "key.pem").write_bytes(locked)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    done = subprocess.run(
        [COMMAND, "serve", "--record", tmp_path / "record",
         "--certificate", tmp_path / "chain.pem", "--private-key", tmp_path / "key.pem"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    assert "the key must not be locked by a password" in done.stderr
    assert "pass phrase" not in done.stdout + done.stderr

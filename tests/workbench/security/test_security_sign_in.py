"""Signing in and out: cookies, tries at passwords, and where one lands afterwards."""

from __future__ import annotations

import logging
import time

import pytest
from sqlalchemy import func, select

from pneumoscope.records import LogEntry, Session, accounts, change_password
from pneumoscope.workbench.security import rates
from pneumoscope.workbench.settings import Settings

HERE = "http://127.0.0.1:8000"


def _count_sessions(record) -> int:
    with record.read() as session:
        return session.scalar(select(func.count()).select_from(Session))


# -- the cookie -----------------------------------------------------------------------------------


def test_the_right_password_opens_a_session(serve, sign_in, people):
    client = serve()
    answer = sign_in(client)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/"
    assert client.get("/").json() == {
        "name": "anna", "role": "admin", "csrf": client.get("/").json()["csrf"],
        "authenticated": True,
    }  # fmt: skip


def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_http(serve, sign_in, people):
    cookie = sign_in(serve()).headers["Set-Cookie"]
    name, _, flags = cookie.partition("=")
    assert name == "__Host-pneumoscope"
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= set(flags.split("; "))
    assert "Domain" not in flags
    assert "expires" not in flags.lower()  # it goes with the browser
    assert "max-age" not in flags.lower()


def test_without_tls_on_this_machine_the_cookie_works_too(serve, sign_in, people):
    client = serve(Settings(), url=HERE)
    cookie = sign_in(client).headers["Set-Cookie"]
    assert cookie.startswith("pneumoscope=")
    assert "HttpOnly" in cookie
    assert "Secure" not in cookie
    assert client.get("/").json()["name"] == "anna"


def test_a_cookie_that_was_planted_is_not_the_one_that_is_used(serve, record, sign_in, people):
    client = serve()
    client.cookies.set("__Host-pneumoscope", "planted", domain="xray.example")
    sign_in(client)
    fresh = client.cookies["__Host-pneumoscope"]
    assert fresh != "planted"
    assert len(fresh) >= 43
    assert _count_sessions(record) == 1


def test_signing_in_again_ends_the_session_before(serve, record, sign_in, people):
    client = serve()
    sign_in(client)
    before = client.cookies["__Host-pneumoscope"]
    sign_in(client, "ben")
    assert client.cookies["__Host-pneumoscope"] != before
    assert client.get("/").json()["name"] == "ben"
    assert _count_sessions(record) == 1
    client.cookies.set("__Host-pneumoscope", before, domain="xray.example")
    assert _count_sessions(record) == 1


@pytest.mark.parametrize("cookie", ["", "x", "A" * 5000, "' OR 1=1 --", '"', "a=b=c", ";;;"])
def test_what_is_no_cookie_is_nobodys(serve, people, cookie):
    headers = {"Cookie": f"__Host-pneumoscope={cookie}"}
    assert serve().get("/", headers=headers).status_code == 401


def test_nothing_that_opens_a_door_lies_in_the_record(serve, record, sign_in, people, tmp_path):
    client = serve()
    sign_in(client)
    secrets = [client.cookies["__Host-pneumoscope"], *people.values(), "four words in a row"]
    record.close()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "record").glob("record.sqlite*"))
    assert b"anna" in stored
    for secret in secrets:
        assert secret.encode() not in stored


# -- wrong passwords ------------------------------------------------------------------------------


def test_a_wrong_password_shows_the_form_again(serve, sign_in, people):
    client = serve()
    answer = sign_in(client, "anna<script>", "wrong password wrong")
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert "<form" in answer.text
    assert "The name or the password is wrong." in answer.text
    assert "<script>" not in answer.text.replace("<script src", "")
    assert client.get("/").status_code == 401


def test_a_program_is_told_in_its_own_language(serve, people):
    answer = serve().post("/sign-in", data={"name": "anna", "password": "wrong"})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The name or the password is wrong."


@pytest.mark.parametrize("name", ["nobody", "", "anna\0", "x" * 300, "' OR 1=1 --", "\ud800"])
def test_an_unknown_name_takes_as_long_as_a_wrong_password(serve, people, monkeypatch, name):
    compared = []
    hasher = accounts._make_hasher()

    class Counting:
        hash = staticmethod(hasher.hash)

        def verify(self, stored, password):
            compared.append(stored)
            return hasher.verify(stored, password)

    monkeypatch.setattr(accounts, "_make_hasher", Counting)
    client = serve()
    form = {"name": name.encode("utf-8", "surrogatepass"), "password": "wrong password wrong"}
    unknown = client.post("/sign-in", data=form)
    known = client.post("/sign-in", data={"name": "anna", "password": "wrong password wrong"})
    assert unknown.status_code == known.status_code == 401
    assert unknown.json() == known.json()
    assert len(compared) == 2
    assert compared[0].split("$")[:4] == compared[1].split("$")[:4]  # as dear as each other


def test_the_name_may_be_typed_in_any_case(serve, sign_in, people):
    assert sign_in(serve(), " ANNA ").status_code == 303


def test_a_large_form_is_not_read(serve, people):
    answer = serve().post("/sign-in", content=b"name=anna&password=" + b"x" * 20_000)
    assert answer.status_code == 413


def test_a_changed_password_signs_out_everywhere(serve, record, sign_in, people):
    client = serve()
    sign_in(client)
    record.write(lambda session: change_password(session, "anna", "another four words"))
    assert client.get("/").status_code == 401
    assert sign_in(client).status_code == 401
    assert sign_in(client, password="another four words").status_code == 303


# -- tries ----------------------------------------------------------------------------------------


def test_passwords_cannot_be_tried_for_long(serve, sign_in, people, caplog):
    client = serve()
    statuses = [sign_in(client, password=f"wrong password {n}").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]
    assert caplog.messages[-1].endswith("was refused: too many tries.")
    answer = sign_in(client)  # the right one comes too late
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 300
    assert "Too many tries" in answer.text
    assert sign_in(client, "ANNA ").status_code == 429  # the same name


def test_nobody_is_locked_out_from_elsewhere_or_for_long(
    serve, build, hospital, sign_in, people, monkeypatch
):
    app = build(hospital)
    attacker, anna = serve(app=app, address="203.0.113.9"), serve(app=app, address="192.0.2.7")
    for number in range(8):
        sign_in(attacker, password=f"wrong password {number}")
    assert sign_in(anna).status_code == 303
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    assert sign_in(attacker).status_code == 303


def test_the_right_password_forgets_the_wrong_ones(serve, sign_in, people):
    client = serve()
    for _ in range(3):
        for number in range(4):
            assert sign_in(client, password=f"wrong password {number}").status_code == 401
        assert sign_in(client).status_code == 303
        client.cookies.clear()


def test_one_address_cannot_try_many_names(serve, sign_in, people, monkeypatch):
    monkeypatch.setattr(rates, "_TRIES_PER_ADDRESS", 10)
    client = serve()
    statuses = [sign_in(client, f"name-{n}", "wrong password").status_code for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2


# -- where one lands ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/studies/1?unread=1", "/studies/1?unread=1"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        (" //evil.example", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
        ("studies", "/"),
    ],
)
def test_signing_in_leads_to_pages_of_ours_only(serve, sign_in, people, wanted, target):
    assert sign_in(serve(), next=wanted).headers["Location"] == target


# -- signing out ----------------------------------------------------------------------------------


def test_signing_out_ends_the_session(serve, record, sign_in, people):
    client = serve()
    sign_in(client)
    cookie = client.cookies["__Host-pneumoscope"]
    csrf = client.get("/").json()["csrf"]
    answer = client.post("/sign-out", data={"csrf": csrf})
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/sign-in"
    assert "__Host-pneumoscope" not in client.cookies
    assert _count_sessions(record) == 0
    replayed = {"Cookie": f"__Host-pneumoscope={cookie}"}
    assert client.get("/", headers=replayed).status_code == 401


def test_another_site_cannot_sign_anybody_out(serve, sign_in, people):
    client = serve()
    sign_in(client)
    assert client.post("/sign-out").status_code == 403
    assert client.post("/sign-out", data={"csrf": "wrong"}).status_code == 403
    assert client.get("/sign-out").status_code == 405
    csrf = client.get("/").json()["csrf"]
    headers = {"Origin": "https://evil.example"}
    assert client.post("/sign-out", data={"csrf": csrf}, headers=headers).status_code == 403
    assert client.get("/").status_code == 200


# -- what is written down -------------------------------------------------------------------------


def test_signing_in_and_out_is_logged_by_opaque_ids(serve, record, sign_in, people):
    client = serve()
    sign_in(client)
    csrf = client.get("/").json()["csrf"]
    client.post("/sign-out", headers={"X-CSRF-Token": csrf})
    with record.read() as session:
        entries = session.scalars(select(LogEntry).order_by(LogEntry.seq)).all()
        assert [entry.event for entry in entries][-2:] == ["sign-in", "sign-out"]
        assert entries[-1].subject == entries[-2].subject
        told = " ".join(f"{entry.event} {entry.subject} {entry.digest}" for entry in entries)
    assert "anna" not in told
    assert "robot" not in told


def test_the_service_log_names_nobody(serve, sign_in, people, caplog):
    caplog.set_level(logging.DEBUG)
    client = serve()
    sign_in(client, password="wrong password wrong")
    sign_in(client)
    client.get("/api/v1/studies?text=patient-7")
    ours = [entry for entry in caplog.records if entry.name.startswith("pneumoscope")]
    assert [entry.getMessage() for entry in ours] == ["A sign-in from 192.0.2.7 was refused."]

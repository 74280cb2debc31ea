"""Who gets in: people with a session, programs with a token, and nobody else."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from pneumoscope.records import (
    Session,
    Token,
    create_token,
    recognise_token,
    remove_user,
    revoke_token,
)
from pneumoscope.records.tables import Role
from pneumoscope.workbench.security import PUBLIC_PATHS, identity
from pneumoscope.workbench.settings import Settings

HERE = "http://127.0.0.1:8000"
PLACES = [(m, p) for p in ("/", "/api/v1/studies", "/nowhere", "/docs") for m in ("GET", "POST")]


def _show(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# -- nobody unknown -------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), PLACES)
def test_a_program_that_does_not_say_who_it_is_gets_401(serve, people, method, path):
    answer = serve().request(method, path)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="pneumoscope"'
    assert answer.json()["status"] == 401


def test_every_route_is_closed_to_strangers(serve, build, hospital, people):
    app = build(hospital)
    client, walked = serve(app=app), 0
    for route in app.routes:
        for method in getattr(route, "methods", None) or ():
            if route.path in PUBLIC_PATHS or route.path.startswith("/static/"):
                continue
            assert client.request(method, route.path).status_code == 401, (method, route.path)
            walked += 1
    assert walked > 8


def test_a_route_that_was_added_later_is_closed_too(serve, build, hospital, people):
    app = build(hospital)
    app.add_api_route("/forgotten", lambda: "secret")
    assert serve(app=app).get("/forgotten").status_code == 401


@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/health", "/static/app.js"])
def test_the_public_routes_are_open(serve, people, path):
    answer = serve().get(path)
    assert answer.status_code == 200
    assert answer.json() == ""  # nobody's name


def test_a_browser_is_led_to_the_sign_in_page_and_back(serve, people):
    answer = serve().get("/api/v1/studies?text=a%26b&x=1", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["Location"] == (
        "/sign-in?next=%2Fapi%2Fv1%2Fstudies%3Ftext%3Da%2526b%26x%3D1"
    )


def test_a_browsers_form_is_not_led_anywhere(serve, people):
    assert serve().post("/", headers={"Accept": "text/html"}).status_code == 401


def test_a_websocket_is_refused(serve, people):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), serve().websocket_connect("/api/v1/events"):
        pass


# -- tokens ---------------------------------------------------------------------------------------


def test_a_token_says_who_a_program_is(serve, people):
    answer = serve().get("/api/v1/studies", headers=_show(people["robot"]))
    assert answer.json() == {
        "name": "robot", "role": "reader", "csrf": None, "authenticated": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "shown",
    [
        "Bearer",
        "Bearer ",
        "Bearer pns_",
        "Bearer pns_" + "A" * 43,
        "Bearer pns_" + "A" * 5000,
        "Bearer \xff\xfe",
        "Bearer pns_\x00",
        "Bearer ' OR 1=1 --",
        "Basic YW5uYTpmb3VyIHdvcmRzIGluIGEgcm93",
        "Digest username=anna",
        "anna",
        "",
    ],
)
def test_what_is_no_token_is_nobodys(serve, people, shown):
    headers = {"Authorization": shown.encode("latin-1")}
    assert serve().get("/api/v1/studies", headers=headers).status_code == 401


def test_a_wrong_token_is_not_made_good_by_a_cookie(serve, sign_in, people):
    client = serve()
    sign_in(client)
    assert client.get("/").status_code == 200
    assert client.get("/", headers=_show("pns_wrong")).status_code == 401


def test_a_revoked_token_is_worthless(serve, record, people):
    client = serve()
    assert client.get("/", headers=_show(people["robot"])).status_code == 200
    record.write(lambda session: revoke_token(session, "robot"))
    assert client.get("/", headers=_show(people["robot"])).status_code == 401


def test_a_token_under_load_does_not_cost_a_query_each_time(serve, people, monkeypatch):
    looked = []

    def look(record, secret):
        looked.append(threading.current_thread())
        return recognise_token(record, secret)

    monkeypatch.setattr(identity, "recognise_token", look)
    monkeypatch.setattr(identity, "_KNOWN_SECONDS", 60.0)
    client = serve()
    for _ in range(20):
        assert client.get("/", headers=_show(people["robot"])).status_code == 200
    assert len(looked) == 1
    assert "AnyIO worker" in looked[0].name  # not on the event loop


def test_those_who_are_known_do_not_fill_the_memory(serve, record, people, monkeypatch):
    monkeypatch.setattr(identity, "_KNOWN_SECONDS", 60.0)
    monkeypatch.setattr(identity, "_MOST_KNOWN", 3)
    client = serve()
    for number in range(5):
        secret = record.write(
            lambda session, name=f"program-{number}": create_token(session, name, Role.READER)
        )
        assert client.get("/", headers=_show(secret)).json()["name"] == f"program-{number}"
    recogniser = _find_recogniser(client.app)
    assert len(recogniser._known) <= 3


def _find_recogniser(app):
    return next(
        entry.kwargs["recogniser"] for entry in app.user_middleware if "recogniser" in entry.kwargs
    )


# -- roles ----------------------------------------------------------------------------------------


def test_only_an_admin_may_do_what_needs_one(serve, people):
    client = serve()
    answer = client.delete("/api/v1/studies", headers=_show(people["robot"]))
    assert answer.status_code == 403
    assert "role admin" in answer.text
    assert client.delete("/api/v1/studies", headers=_show(people["root"])).json() == "root"


# -- sessions that end ----------------------------------------------------------------------------


def test_a_session_that_ran_out_is_nobodys(serve, record, sign_in, people):
    client = serve()
    sign_in(client)
    past = datetime.now(UTC) - timedelta(seconds=1)
    record.write(lambda session: session.execute(update(Session).values(expires_at=past)))
    assert client.get("/").status_code == 401


def _read_end(record) -> datetime:
    with record.read() as session:
        return session.scalars(select(Session.expires_at)).one()


def test_a_session_lives_on_while_it_is_used(serve, record, sign_in, people):
    client = serve()
    sign_in(client)
    soon = datetime.now(UTC) + timedelta(minutes=5)
    record.write(lambda session: session.execute(update(Session).values(expires_at=soon)))
    client.get("/api/v1/events")  # the page asks for this by itself
    assert _read_end(record) == soon
    client.get("/")
    assert _read_end(record) > soon + timedelta(minutes=50)


def test_a_session_ends_after_a_shift_in_any_case(serve, record, sign_in, people):
    client = serve()
    sign_in(client)
    opened = datetime.now(UTC) - timedelta(hours=11, minutes=50)
    soon = datetime.now(UTC) + timedelta(minutes=5)
    record.write(
        lambda session: session.execute(update(Session).values(opened_at=opened, expires_at=soon))
    )
    client.get("/")
    assert _read_end(record) == opened + timedelta(hours=12)


def test_who_was_removed_is_signed_out(serve, record, sign_in, people):
    client = serve()
    sign_in(client, "ben")
    assert client.get("/").json()["name"] == "ben"
    record.write(lambda session: remove_user(session, "ben"))
    assert client.get("/").status_code == 401


# -- without accounts, on this machine ------------------------------------------------------------


def test_on_this_machine_everybody_is_the_admin_until_there_is_an_account(serve, record):
    client = serve(Settings(), url=HERE)
    assert client.get("/").json() == {
        "name": "local", "role": "admin", "csrf": None, "authenticated": False,
    }  # fmt: skip
    record.write(lambda session: create_token(session, "robot", Role.READER))
    assert client.get("/").status_code == 401
    record.write(lambda session: revoke_token(session, "robot"))
    assert client.get("/").status_code == 401  # a lock that fell shut stays shut
    assert serve(Settings(), url=HERE).get("/").status_code == 401  # after a new start too


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_a_proxy_that_nobody_spoke_of_does_not_make_strangers_admins(serve, header):
    client = serve(Settings(), url=HERE)
    assert client.get("/", headers={header: "203.0.113.9"}).status_code == 401


@pytest.mark.parametrize(
    "settings", [Settings(behind_proxy=True), Settings(host="192.0.2.1"), Settings(host="::")]
)
def test_where_others_may_come_nobody_is_let_in_unasked(serve, settings):
    assert serve(settings, url="http://127.0.0.1").get("/").status_code == 401


# -- how often ------------------------------------------------------------------------------------


def test_who_asks_too_often_is_told_when_to_come_again(serve, few, people):
    client = serve(few)
    for _ in range(10):
        assert client.get("/", headers=_show(people["robot"])).status_code == 200
    answer = client.get("/", headers=_show(people["robot"]))
    assert answer.status_code == 429
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert client.get("/", headers=_show(people["root"])).status_code == 200


def test_strangers_are_counted_by_address(serve, build, few, people):
    app = build(few)
    first, neighbour = serve(app=app, address="2001:db8::1"), serve(app=app, address="2001:db8::2")
    other = serve(app=app, address="2001:db8:1::1")
    assert first.get("/sign-in").status_code == 200
    assert neighbour.get("/sign-in").status_code == 429  # one network, one caller
    assert other.get("/sign-in").status_code == 200


def test_behind_a_proxy_nobody_chooses_the_address_that_is_counted(serve, few, people):
    settings = replace(few, behind_proxy=True, certificate=None)
    client = serve(settings, address="127.0.0.1")
    forged = ("203.0.113.9", "198.51.100.1, 203.0.113.9", "x,y,203.0.113.9")
    statuses = [
        client.get("/sign-in", headers={"X-Forwarded-For": said}).status_code for said in forged
    ]
    assert statuses == [200, 429, 429]
    other = {"X-Forwarded-For": "203.0.113.9, 203.0.113.10"}
    assert client.get("/sign-in", headers=other).status_code == 200


def test_the_last_use_of_a_token_is_written_down_once_a_minute(serve, record, people):
    client = serve()

    def read() -> datetime | None:
        with record.read() as session:
            return session.scalars(select(Token.used_at).where(Token.name == "robot")).one()

    assert read() is None
    client.get("/", headers=_show(people["robot"]))
    first = read()
    assert first is not None
    client.get("/", headers=_show(people["robot"]))
    assert read() == first
    before = first - timedelta(minutes=2)
    record.write(lambda session: session.execute(update(Token).values(used_at=before)))
    client.get("/", headers=_show(people["robot"]))
    assert read() >= first

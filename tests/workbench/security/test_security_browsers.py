"""What other sites' pages cannot make a browser do, and what every answer tells it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pneumoscope.workbench.settings import Settings

HERE = "http://127.0.0.1:8000"

# -- names of the service -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("192.168.1.20:8000", 200),  # digits cannot be bent to another address
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example:8000", 400),
        ("localhost:8000@evil.example", 400),
        ("localhost evil.example", 400),
        ("evil.example#localhost", 400),
        ("[::1", 400),
        ("[evil]", 400),
        ("localhost:port", 400),
        ("", 400),
        ("\xff", 400),
    ],
)
def test_names_that_were_bent_to_this_address_are_refused(serve, host, status):
    client = serve(Settings(), url=HERE)
    answer = client.get("/", headers={"Host": host.encode("latin-1")})
    assert answer.status_code == status


def test_two_names_are_none(serve):
    client = serve(Settings(), url=HERE)
    headers = [("Host", "localhost"), ("Host", "evil.example")]
    assert client.get("/", headers=headers).status_code == 400


def test_a_name_that_was_allowed_is_ours(serve, people):
    named = serve(url="https://xray.example")
    assert named.get("/api/v1/health").status_code == 200
    other = serve(url="https://other.example")
    answer = other.get("/api/v1/health")
    assert answer.status_code == 400
    assert "--allowed-host" in answer.json()["detail"]


# -- requests of other sites ----------------------------------------------------------------------

SENT = [
    # headers of the browser, method, status
    ({}, "POST", 200),  # a program
    ({"Origin": HERE}, "POST", 200),
    ({"Origin": HERE, "Sec-Fetch-Site": "same-origin"}, "POST", 200),
    ({"Origin": "http://evil.example"}, "POST", 403),
    ({"Origin": "http://127.0.0.1:9000"}, "POST", 403),
    ({"Origin": f"{HERE}.evil.example"}, "POST", 403),
    ({"Origin": f"{HERE}@evil.example"}, "POST", 403),
    ({"Origin": "null"}, "POST", 403),
    ({"Origin": ""}, "POST", 403),
    ({"Origin": "http://["}, "POST", 403),
    ({"Origin": "file://127.0.0.1:8000"}, "POST", 403),
    ({"Sec-Fetch-Site": "cross-site"}, "POST", 403),
    ({"Sec-Fetch-Site": "same-site"}, "DELETE", 403),
    ({"Sec-Fetch-Site": "none"}, "GET", 200),  # typed by a person
    ({"Sec-Fetch-Site": "cross-site"}, "GET", 403),  # a script
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "GET", 403),
]
FRAME = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
LINK = FRAME | {"Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("sent", "method", "status"), [*SENT, (FRAME, "GET", 403), (LINK, "GET", 200)]
)
def test_other_sites_pages_can_link_here_and_nothing_else(serve, sent, method, status):
    client = serve(Settings(), url=HERE)
    assert client.request(method, "/api/v1/studies", headers=sent).status_code == status


def test_over_https_a_page_that_came_by_http_is_another_site(serve, people):
    client = serve()
    headers = {"Authorization": f"Bearer {people['robot']}", "Origin": "http://xray.example"}
    assert client.post("/api/v1/studies", headers=headers).status_code == 403
    headers["Origin"] = "https://xray.example"
    assert client.post("/api/v1/studies", headers=headers).status_code == 200


def test_a_change_by_somebody_signed_in_needs_their_csrf_token(serve, sign_in, people):
    client = serve()
    sign_in(client)
    csrf = client.get("/").json()["csrf"]
    assert len(csrf) > 40
    statuses = [
        client.request(method, "/api/v1/studies", headers=headers).status_code
        for method in ("POST", "DELETE")
        for headers in (
            {},
            {"X-CSRF-Token": ""},
            {"X-CSRF-Token": csrf[:-1]},
            {"X-CSRF-Token": b"\xff"},
            {"X-CSRF-Token": csrf},
        )
    ]
    assert statuses == [403, 403, 403, 403, 200] * 2


def test_one_persons_csrf_token_is_not_anothers(serve, build, hospital, sign_in, people):
    app = build(hospital)
    anna, ben = serve(app=app), serve(app=app)
    sign_in(anna)
    sign_in(ben, "ben")
    stolen = {"X-CSRF-Token": ben.get("/").json()["csrf"]}
    assert anna.post("/api/v1/studies", headers=stolen).status_code == 403


def test_a_program_needs_no_csrf_token(serve, people):
    headers = {"Authorization": f"bearer {people['robot']}"}
    assert serve().post("/api/v1/studies", headers=headers).status_code == 200


# -- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/api/v1/studies"])
@pytest.mark.parametrize("host", ["xray.example", "evil.example"])
def test_every_answer_carries_the_headers(serve, people, path, host):
    headers = serve().get(path, headers={"Host": host}).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Strict-Transport-Security"].startswith("max-age=")


def test_our_own_files_may_be_kept_and_asked_for_again(serve, people):
    assert serve().get("/static/app.js").headers["Cache-Control"] == "no-cache"


def test_without_https_nobody_is_held_to_it(serve):
    answer = serve(Settings(), url=HERE).get("/")
    assert "Strict-Transport-Security" not in answer.headers


def test_answers_are_passed_on_as_they_come(serve, build):
    """A stream of events is not held back until its end."""
    import anyio
    from starlette.responses import StreamingResponse

    app = build(Settings())
    read_first = False

    async def stream():
        yield b"data: 1\n\n"
        assert read_first
        yield b"data: 2\n\n"

    app.add_api_route(
        "/stream", lambda: StreamingResponse(stream(), media_type="text/event-stream")
    )
    scope = {
        "type": "http", "method": "GET", "path": "/stream", "raw_path": b"/stream",
        "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("localhost", 80), "scheme": "http", "http_version": "1.1", "root_path": "",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip
    chunks = []

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        nonlocal read_first
        if message.get("body"):
            chunks.append(message["body"])
            read_first = True

    async def run():
        await app(scope, receive, send)

    with ThreadPoolExecutor(1) as thread:  # this one may have an event loop already
        thread.submit(anyio.run, run).result()
    assert chunks == [b"data: 1\n\n", b"data: 2\n\n"]

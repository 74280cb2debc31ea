"""Signing in and out: a form's two fields become a cookie, and the cookie is forgotten."""

from __future__ import annotations

import logging
import math
from functools import partial
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pneumoscope.records import Opened, Record, sign_in, sign_out
from pneumoscope.workbench.pages.sign_in import keep_local, show_sign_in
from pneumoscope.workbench.problems import Problem, describe_problem
from pneumoscope.workbench.security.identity import Identity, Recogniser
from pneumoscope.workbench.security.origin import is_same
from pneumoscope.workbench.security.rates import SignInRates, find_network, make_throttled
from pneumoscope.workbench.settings import Settings

_LOGGER = logging.getLogger(__name__)
_LARGEST_FORM = 16_384  # bytes
#: Argon2 takes 64 MiB and a core for each: more at once would help nobody.
_AT_ONCE = 2


class SignIn:
    """The two routes that open and end sessions."""

    def __init__(self, record: Record, recogniser: Recogniser, settings: Settings) -> None:
        self._record = record
        self._recogniser = recogniser
        self._secure = settings.uses_tls
        self._behind_proxy = settings.behind_proxy
        self._rates = SignInRates()
        self._at_once = anyio.CapacityLimiter(_AT_ONCE)

    async def open(self, request: Request) -> Response:
        """Open a session for whoever has the password, with a cookie that nobody had before."""
        form = await _read_form(request)
        if form is None:
            return describe_problem(
                Problem(413, f"The form has more than {_LARGEST_FORM:,} bytes.")
            )
        name, network = form.get("name", ""), find_network(request.scope, self._behind_proxy)
        wait = self._rates.count(name, network)
        if wait is not None:
            _LOGGER.warning("A sign-in from %s was refused: too many tries.", network)
            error = f"Too many tries: wait {math.ceil(wait / 60)} min."
            return _ask_again(request, make_throttled(wait), error, form)
        opened = await anyio.to_thread.run_sync(
            partial(
                sign_in,
                self._record,
                name,
                form.get("password", ""),
                replaced=self._recogniser.read_cookie(request.headers),
            ),
            limiter=self._at_once,
        )
        if opened is None:
            _LOGGER.warning("A sign-in from %s was refused.", network)
            error = "The name or the password is wrong."
            return _ask_again(request, describe_problem(Problem(401, error)), error, form)
        self._rates.clear(name, network)
        self._forget(request)
        return self._answer(opened, keep_local(form.get("next", "/")))

    async def end(self, request: Request) -> Response:
        """End the session; the form proves by its field `csrf` that it is ours."""
        identity: Identity = request.state.identity
        form = await _read_form(request) or {}
        shown = form.get("csrf") or request.headers.get("x-csrf-token", "")
        if identity.csrf is not None and not is_same(shown, identity.csrf):
            return describe_problem(
                Problem(403, "The form is not ours: reload the page, and sign out there.")
            )
        cookie = self._recogniser.read_cookie(request.headers)
        if cookie is not None:
            await anyio.to_thread.run_sync(sign_out, self._record, cookie)
            self._forget(request)
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(
            self._recogniser.cookie, secure=self._secure, httponly=True, samesite="lax"
        )
        return response

    def _answer(self, opened: Opened, target: str) -> Response:
        response = RedirectResponse(target, 303)
        # Lax, not strict: a link from the hospital's own system is to find its reader signed in.
        response.set_cookie(
            self._recogniser.cookie,
            opened.cookie,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return response

    def _forget(self, request: Request) -> None:
        cookie = self._recogniser.read_cookie(request.headers)
        if cookie is not None:
            self._recogniser.forget(cookie)


def _ask_again(request: Request, refusal: Response, error: str, form: dict[str, str]) -> Response:
    """Return people to the form, with what was wrong; programs get the problem."""
    if "text/html" not in request.headers.get("accept", ""):
        return refusal
    page = show_sign_in(
        request,
        form.get("next", "/"),
        error=error,
        name=form.get("name", ""),
        status=refusal.status_code,
    )
    wait = refusal.headers.get("retry-after")
    if wait:
        page.headers["Retry-After"] = wait
    return page


async def _read_form(request: Request) -> dict[str, str] | None:
    """Return a form's fields; None where it is larger than any form of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            return None
    text = body.decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))

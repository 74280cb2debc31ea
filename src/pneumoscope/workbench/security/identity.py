"""Who asks: a program by its token, a person by their session, or, on this machine, anybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio.to_thread
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from pneumoscope.records import (
    LOCAL,
    Account,
    Record,
    Role,
    had_accounts,
    has_accounts,
    recognise_session,
    recognise_token,
)

#: So long somebody stays known without a look at the record, also when their token is revoked.
_KNOWN_SECONDS = 5.0
_MOST_KNOWN = 1024
#: What a page asks for by itself; it does not show that a person is still there.
_UNATTENDED = frozenset({"/api/v1/events"})
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True)
class Identity:
    """Who asks, and what they may do."""

    name: str
    """Of the user or token; `local` without authentication, empty of somebody unknown."""
    role: Role | None
    """None for somebody unknown, who is let to public routes only."""
    csrf: str | None = None
    """Of somebody who is signed in: goes with every change, as X-CSRF-Token."""
    authenticated: bool = True
    """Whether they said who they are."""

    def may(self, role: Role) -> bool:
        """Whether this is somebody with this role, or with more."""
        return self.role is role or self.role is Role.ADMIN


ANYBODY_HERE = Identity(LOCAL, Role.ADMIN, authenticated=False)
UNKNOWN = Identity("", None, authenticated=False)


class Recogniser:
    """Finds who asks from the headers of a request, off the event loop, and remembers briefly.

    Parameters
    ----------
    cookie
        Name of the session's cookie.
    always
        Whether everybody has to say who they are; otherwise only from the first account on.
    """

    def __init__(self, record: Record, cookie: str, *, always: bool) -> None:
        self.cookie = cookie
        self._record = record
        self._known: dict[str, tuple[Identity, float]] = {}
        self._closed = always or self._look_for(had_accounts)
        self._open_until = 0.0

    async def find(self, scope: Scope) -> Identity:
        """Return who asks; what is shown but unknown makes nobody of them."""
        headers = Headers(scope=scope)
        if await self._is_open():
            # Through a proxy of this machine, everybody would come from this machine.
            return UNKNOWN if any(name in headers for name in _FORWARDED) else ANYBODY_HERE
        shown = headers.get("authorization")
        if shown is not None:
            kind, _, token = shown.partition(" ")
            if kind.lower() != "bearer":
                return UNKNOWN
            return await self._recall(token.strip(), partial(recognise_token, self._record))
        cookie = self.read_cookie(headers)
        if cookie is None:
            return UNKNOWN
        active = scope["path"] not in _UNATTENDED
        return await self._recall(cookie, partial(recognise_session, self._record, active=active))

    def read_cookie(self, headers: Headers) -> str | None:
        """Return the session's cookie as it was sent."""
        return cookie_parser(headers.get("cookie", "")).get(self.cookie) or None

    def forget(self, secret: str) -> None:
        """Look at the record again when this is shown next."""
        self._known.pop(secret, None)

    async def _recall(self, secret: str, look_up: Callable[[str], Account | None]) -> Identity:
        identity, until = self._known.get(secret, (UNKNOWN, 0.0))
        if time.monotonic() < until:
            return identity
        account = await anyio.to_thread.run_sync(look_up, secret)
        if account is None:
            self.forget(secret)
            return UNKNOWN
        identity = Identity(account.name, account.role, account.csrf)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[secret] = (identity, time.monotonic() + _KNOWN_SECONDS)
        return identity

    async def _is_open(self) -> bool:
        """Whether nobody has to say who they are; once there were accounts, never again."""
        if not self._closed and time.monotonic() >= self._open_until:
            self._closed = await anyio.to_thread.run_sync(self._look_for, has_accounts)
            self._open_until = time.monotonic() + _KNOWN_SECONDS
        return not self._closed

    def _look_for(self, accounts: Callable[[Session], bool]) -> bool:
        with self._record.read() as session:
            return accounts(session)


class IdentityMiddleware:
    """Puts who asks into `request.state.identity`."""

    def __init__(self, app: ASGIApp, recogniser: Recogniser) -> None:
        self.app = app
        self._recogniser = recogniser

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with who asks."""
        if scope["type"] != "lifespan":
            scope.setdefault("state", {})["identity"] = await self._recogniser.find(scope)
        await self.app(scope, receive, send)

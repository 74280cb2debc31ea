"""Security put before an application, in the order in which requests meet it."""

from __future__ import annotations

from fastapi import FastAPI

from pneumoscope.records import Record
from pneumoscope.workbench.security.access import AccessMiddleware
from pneumoscope.workbench.security.binding import needs_authentication
from pneumoscope.workbench.security.headers import HeadersMiddleware
from pneumoscope.workbench.security.identity import IdentityMiddleware, Recogniser
from pneumoscope.workbench.security.origin import OriginMiddleware
from pneumoscope.workbench.security.rates import RateMiddleware
from pneumoscope.workbench.security.sign_in import SignIn
from pneumoscope.workbench.settings import Settings


def add_security(app: FastAPI, settings: Settings, record: Record) -> None:
    """Put all checks before the routes of an application, and add `/sign-in` and `/sign-out`.

    Every request then has `request.state.identity`; what it may do beyond being known is said by
    each route, with `Depends(require(Role.ADMIN))`.
    """
    secure = settings.uses_tls
    # Browsers take a cookie of this prefix over HTTPS only, for this host alone (RFC 6265bis).
    cookie = "__Host-pneumoscope" if secure else "pneumoscope"
    recogniser = Recogniser(record, cookie, always=needs_authentication(settings))
    sign_in = SignIn(record, recogniser, settings)
    app.add_route("/sign-in", sign_in.open, methods=["POST"], include_in_schema=False)
    app.add_route("/sign-out", sign_in.end, methods=["POST"], include_in_schema=False)
    # The one added last is met first.
    app.add_middleware(AccessMiddleware)
    app.add_middleware(
        RateMiddleware,
        per_minute=settings.limits.requests_per_minute,
        behind_proxy=settings.behind_proxy,
    )
    app.add_middleware(IdentityMiddleware, recogniser=recogniser)
    app.add_middleware(OriginMiddleware, hosts=settings.allowed_hosts, secure=secure)
    app.add_middleware(HeadersMiddleware, secure=secure)

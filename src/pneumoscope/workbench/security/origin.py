"""Where a request comes from: our own pages and programs, not pages of others.

A page of another site can make a browser send requests here. The host check stops names that were
bent to this address (DNS rebinding); `Sec-Fetch-Site` and `Origin`, which browsers set and pages
cannot, stop the rest; a token known to our pages alone backs them up.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pneumoscope.workbench.problems import Problem, describe_problem
from pneumoscope.workbench.security.identity import Identity

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Forms that carry their proof as a field, which the route checks.
_CHECKED_BY_ROUTE = frozenset({"/sign-out"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?", re.IGNORECASE)


class OriginMiddleware:
    """Refuses names that are not ours, and what other sites' pages send.

    Parameters
    ----------
    hosts
        Names by which the service is reached, beside `localhost`, this machine's own and any
        address in digits, which cannot be bent.
    secure
        Whether browsers reach the service by HTTPS.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], secure: bool) -> None:
        self.app = app
        self._hosts = {"localhost", socket.gethostname().lower(), *map(str.lower, hosts)}
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_ours(headers):
            refusal = describe_problem(
                Problem(
                    400, "The service is not known by this name: start it with --allowed-host NAME."
                )
            )
            await refusal(scope, receive, send)
        elif not self._is_from_us(scope, headers):
            refusal = describe_problem(Problem(403, "Pages of other sites may not send this."))
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_ours(self, headers: Headers) -> bool:
        sent = headers.getlist("host")
        match = _HOST.fullmatch(sent[0]) if len(sent) == 1 else None
        return match is not None and (_is_address(match[1]) or match[1].lower() in self._hosts)

    def _is_from_us(self, scope: Scope, headers: Headers) -> bool:
        safe = scope.get("method", "GET") in SAFE_METHODS
        if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            # A link that somebody follows is welcome; an image, a form or a script is not.
            return (
                safe
                and headers.get("sec-fetch-mode") == "navigate"
                and headers.get("sec-fetch-dest") == "document"
            )
        origin = headers.get("origin")
        return safe or origin is None or self._is_own_origin(origin, headers["host"])

    def _is_own_origin(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        schemes = {"https"} if self._secure else {"http", "https"}
        return parts.scheme in schemes and parts.netloc.lower() == host.lower()


def has_csrf_token(scope: Scope, headers: Headers, identity: Identity) -> bool:
    """Whether a request shows what only our pages know; where no cookie speaks, it need not."""
    if identity.csrf is None or scope["method"] in SAFE_METHODS:
        return True
    return scope["path"] in _CHECKED_BY_ROUTE or is_same(
        headers.get("x-csrf-token", ""), identity.csrf
    )


def is_same(shown: str, expected: str) -> bool:
    """Compare secrets in a time that says nothing about them."""
    return hmac.compare_digest(shown.encode(), expected.encode())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True

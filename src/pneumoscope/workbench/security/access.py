"""Who may go where: nobody unknown, except to a short list; and roles for single routes."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pneumoscope.records import Role
from pneumoscope.workbench.problems import Problem, describe_problem
from pneumoscope.workbench.security.identity import Identity
from pneumoscope.workbench.security.origin import has_csrf_token

#: Everything else needs somebody known: a route that is forgotten here is closed, not open.
PUBLIC_PATHS = frozenset({"/sign-in", "/api/v1/health", "/api/v1/ready"})
PUBLIC_PREFIX = "/static/"


def require(role: Role) -> Callable[[Request], Identity]:
    """Return a dependency that lets through whoever has a role, and returns who it is."""

    def check(request: Request) -> Identity:
        identity: Identity = request.state.identity
        if not identity.may(role):
            raise HTTPException(403, f"This needs the role {role.value}: ask an admin.")
        return identity

    return check


class AccessMiddleware:
    """Refuses whoever is unknown, and changes that a page of ours did not send."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":  # there are none; a door that is not watched stays shut
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or is_public(scope["path"]):
            await self.app(scope, receive, send)
            return
        identity: Identity = scope["state"]["identity"]
        headers = Headers(scope=scope)
        if identity.role is None:
            await _turn_away(scope, headers)(scope, receive, send)
        elif not has_csrf_token(scope, headers, identity):
            refusal = describe_problem(
                Problem(403, "A change needs the header X-CSRF-Token: reload the page.")
            )
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def is_public(path: str) -> bool:
    """Whether a path is open to everybody."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX)


def _turn_away(scope: Scope, headers: Headers) -> ASGIApp:
    """Return the way to the sign-in page for people, 401 for programs."""
    if scope["method"] in {"GET", "HEAD"} and "text/html" in headers.get("accept", ""):
        query = scope["query_string"].decode("latin-1")
        wanted = quote(scope["path"]) + (f"?{query}" if query else "")
        return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", 303)
    return describe_problem(
        Problem(
            401,
            "Say who you are: sign in, or send a token as Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": 'Bearer realm="pneumoscope"'},
        )
    )

"""The sign-in page; whoever checks passwords shows it again with what was wrong."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pneumoscope.workbench.pages.layout import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/sign-in")
def ask_to_sign_in(request: Request, next: str = "/") -> HTMLResponse:
    """Return the sign-in page, which leads on to a page of this service."""
    return show_sign_in(request, next)


def show_sign_in(
    request: Request, following: str = "/", *, error: str = "", name: str = "", status: int = 200
) -> HTMLResponse:
    """Return the sign-in page.

    Parameters
    ----------
    following
        The page to go to afterwards; anything but a path of this service becomes the worklist.
    error
        What was wrong, in a sentence.
    name
        As it was typed, to be kept in its field.
    """
    return render(
        request,
        "sign_in.html",
        status=status,
        following=keep_local(following),
        error=error,
        name_typed=name,
    )


def keep_local(target: str) -> str:
    """Return a path of this service as it is, and the worklist's for anything else.

    >>> [keep_local(t) for t in ("/studies/1?unread=1", "//elsewhere.org", "https://elsewhere.org")]
    ['/studies/1?unread=1', '/', '/']
    """
    # Browsers take a backslash for a slash and drop control characters: "/\\x.org" leads away too.
    plain = target.isprintable() and "\\" not in target
    return target if plain and target.startswith("/") and not target.startswith("//") else "/"

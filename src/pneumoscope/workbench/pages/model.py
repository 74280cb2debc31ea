"""The model page: its card, its operating points, and the report of the run that made it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from markupsafe import Markup

from pneumoscope.bundle import CARD, Bundle
from pneumoscope.workbench.dependencies import get_service
from pneumoscope.workbench.pages.layout import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
#: What may be wider than a phone scrolls, by keys too; a table's empty corner heads nothing.
_ACCESSIBLE = (
    ("<table>", '<div class="scroll" role="group" tabindex="0" aria-label="Table"><table>'),
    ("</table>", "</table></div>"),
    ("<pre>", '<pre tabindex="0">'),
    ("<th></th>", "<td></td>"),
    ("<a href=", '<a rel="noreferrer" href='),
)
_STYLES = re.compile(r"<style>(.*?)</style>", re.DOTALL)


@router.get("/model")
def show_model(request: Request) -> HTMLResponse:
    """Return the model page."""
    service = get_service(request)
    predictor = service.predictor
    return render(
        request,
        "model.html",
        info=predictor.bundle.info,
        sha256=predictor.bundle.sha256,
        precision=predictor.precision,
        decides=predictor.operating_point,
        points=predictor.operating_points,
        card=render_card(predictor.bundle),
        has_report=service.settings.report is not None,
    )


@router.get("/model/report")
def show_report(request: Request) -> HTMLResponse:
    """Return the report that the settings name, under a policy that lets it have its own styles."""
    named = get_service(request).settings.report
    if named is None:
        raise HTTPException(404, "No report was named; start the service with --report FILE.")
    try:
        page = named.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HTTPException(404, f"The report {named.name} cannot be read.") from error
    return HTMLResponse(page, headers={"Content-Security-Policy": allow_styles(page)})


def allow_styles(page: str) -> str:
    """Return a policy by which a self-contained page has its styles and pictures, nothing else."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
        for style in _STYLES.findall(page)
    ]
    styles = " ".join(hashes) or "'none'"
    return (
        f"default-src 'none'; style-src {styles}; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-popups"
    )


@lru_cache(maxsize=2)
def render_card(bundle: Bundle) -> Markup:
    """Return a bundle's model card as HTML: its front matter left out, its tags shown as text."""
    return render_markdown(_FRONT_MATTER.sub("", bundle.file(CARD).read_text(encoding="utf-8")))


def render_markdown(text: str) -> Markup:
    """Return Markdown as HTML that can bring in nothing: no tags, no pictures, no styles.

    Headings are a step lower than in the text, since the page has one of its own.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = markdown.parse(text)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        token.attrs.pop("style", None)  # how a column is aligned: the policy allows no style here
    html = markdown.renderer.render(tokens, markdown.options, {})
    for old, new in _ACCESSIBLE:
        html = html.replace(old, new)
    return Markup(html)  # markdown-it escapes what is HTML in the card # nosec B704

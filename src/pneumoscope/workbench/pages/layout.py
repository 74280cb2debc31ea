"""What all pages share: templates, how things are written for people, and the alarm."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from pneumoscope import __version__
from pneumoscope._probability import format_probability
from pneumoscope.evaluation import Estimate, Interval
from pneumoscope.workbench.dependencies import get_service
from pneumoscope.workbench.pages import wording

_THEMES = ("dark", "light")


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a page, or a part of one, for whoever asks."""
    identity = request.state.identity
    page = _TEMPLATES.get_template(template).render(
        identity=identity,
        csrf=identity.csrf or "",
        theme=_read_theme(request),
        path=request.url.path,
        version=__version__,
        alarms=get_service(request).drift.list_alarms() if identity.name and status < 500 else [],
        **context,
    )
    # Pages tell of patients: no copy stays behind in a browser that others use.
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})


def _read_theme(request: Request) -> str:
    wanted = request.cookies.get("theme", "")
    return wanted if wanted in _THEMES else _THEMES[0]


def _write_moment(value: datetime) -> str:
    """Return a moment for those without scripts; others see it in their own time zone."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _write_date(value: date) -> str:
    return f"{value:%d %b %Y}".lstrip("0")


def _write_percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def _write_interval(interval: Interval | None, digits: int = 0) -> str:
    if interval is None:
        return ""
    return f"{100 * interval.low:.{digits}f}–{100 * interval.high:.{digits}f}"


def _write_estimate(estimate: Estimate) -> str:
    """Return a share with its interval; a dash where there is none."""
    if estimate.value is None:
        return "–"
    return f"{_write_percent(estimate.value, 1)} ({_write_interval(estimate.interval, 1)})"


def _open_templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("pneumoscope.workbench"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "probability": format_probability,
        "moment": _write_moment,
        "date": _write_date,
        "percent": _write_percent,
        "interval": _write_interval,
        "estimate": _write_estimate,
        "query": lambda values: urlencode({k: v for k, v in values.items() if v}),
    }
    environment.globals["wording"] = wording
    return environment


_TEMPLATES = _open_templates()

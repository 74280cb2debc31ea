"""The application: API, pages and everything that stands before them."""

from __future__ import annotations

from fastapi import FastAPI

from pneumoscope import __version__
from pneumoscope.workbench.api import add_api
from pneumoscope.workbench.api.description import add_description
from pneumoscope.workbench.body_limit import BodyLimit
from pneumoscope.workbench.handlers import add_handlers
from pneumoscope.workbench.measuring import Measuring
from pneumoscope.workbench.pages import add_pages
from pneumoscope.workbench.security import add_security
from pneumoscope.workbench.service import Service

_DESCRIPTION = """Chest radiographs in, answers out. **Research use, not a diagnosis.**

Programs show a token: `Authorization: Bearer pns_…` (`pneumoscope token create`). Errors are
problems as RFC 9457 has them; on 429 and 503 ask again after `Retry-After` seconds.
"""


def create_app(service: Service) -> FastAPI:
    """Return the application on a service that is open, and stays so as long as it is used."""
    app = FastAPI(
        title="Pneumoscope",
        version=__version__,
        summary="Pneumonia in chest radiographs.",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        # Addresses of requests may hold a patient's key: they are not traced.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    add_handlers(app)
    add_api(app)
    add_description(app)
    add_pages(app)
    app.add_middleware(BodyLimit, limits=service.settings.limits)
    add_security(app, service.settings, service.record)
    # The one added last is met first: refused requests are counted too.
    app.add_middleware(Measuring, meters=service.meters)
    return app

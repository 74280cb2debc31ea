"""Health and readiness, for whoever keeps the service running."""

from __future__ import annotations

import shutil
from typing import Any

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope import __version__
from pneumoscope.errors import RecordError
from pneumoscope.workbench.api.schemas import HealthOut, ReadyOut, describe_problems
from pneumoscope.workbench.dependencies import ServiceDependency
from pneumoscope.workbench.problems import Problem

router = APIRouter(tags=["service"])
#: Bytes that the disk must have left: an image and its row.
_ROOM = 64 * 2**20


@router.get("/health", response_model=HealthOut)
async def say_alive() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok", "version": __version__, "notice": "Research use, not a diagnosis."}


@router.get("/ready", response_model=ReadyOut, responses=describe_problems(503))
def say_ready(service: ServiceDependency) -> dict[str, Any]:
    """Say that images are answered and kept; 503 where they are not."""
    if not service.is_ready:
        raise Problem(503, "The service is stopping, or its queue stands still.")
    try:
        service.record.check()
    except RecordError as error:
        raise Problem(503, str(error)) from None
    except SQLAlchemyError:
        raise Problem(503, "The database does not answer.") from None
    if shutil.disk_usage(service.record.folder).free < _ROOM:
        raise Problem(503, f"The disk of the record has less than {_ROOM >> 20} MiB left.")
    return {"status": "ready"}

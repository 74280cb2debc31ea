"""Pictures: the image itself, and what is drawn of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter
from fastapi.responses import Response

from pneumoscope.records import Image, read_finding
from pneumoscope.runtime import Finding, previews
from pneumoscope.workbench.api.schemas import describe_problems
from pneumoscope.workbench.dependencies import ServiceDependency, get_prediction, get_study
from pneumoscope.workbench.preview_store import PreviewStore
from pneumoscope.workbench.problems import Problem
from pneumoscope.workbench.service import Service

router = APIRouter(tags=["pictures"])
#: It shows a patient: nobody who signs in next, and no deletion, finds it in the browser.
_UNKEPT = {"Cache-Control": "no-store"}


def _describe(media_type: str, what: str) -> dict[str, Any]:
    return {
        "response_class": Response,
        "responses": {
            200: {"content": {media_type: {}}, "description": what},
            **describe_problems(401, 403, 404, 422, 429),
        },
    }


@router.get("/studies/{study_id}/image", **_describe("application/octet-stream", "The file."))
def show_image(service: ServiceDependency, study_id: str) -> Response:
    """Return the file as it was sent."""
    sha256 = _find_image(service, study_id)
    # Never shown by a browser as what it may pretend to be.
    headers = {**_UNKEPT, "Content-Disposition": f'attachment; filename="{sha256[:16]}"'}
    return Response(
        service.record.images.get(sha256), media_type="application/octet-stream", headers=headers
    )


@router.get("/studies/{study_id}/thumbnail.jpg", **_describe("image/jpeg", "At most 160 pixels."))
async def show_thumbnail(service: ServiceDependency, study_id: str) -> Response:
    """Return a small picture of the image."""
    sha256 = await run_sync(_find_image, service, study_id)
    store = PreviewStore(service.record.folder / "previews")
    picture = await run_sync(store.get, sha256)
    if picture is None:
        data = await run_sync(service.record.images.get, sha256)
        drawn = service.intake.decoder.run("The image", previews.draw_thumbnail, data)
        picture = await asyncio.wrap_future(drawn)
        await run_sync(_keep_thumbnail, service, store, sha256, picture)
    return Response(picture, media_type="image/jpeg", headers=_UNKEPT)


@router.get("/studies/{study_id}/pixels", **_describe("application/octet-stream", "Raw pixels."))
async def show_pixels(service: ServiceDependency, study_id: str) -> Response:
    """Return all grey values, uint8 or little-endian uint16, row by row; the higher, the denser.

    Width, height and significant bits stand in the headers X-Width, X-Height and X-Bits; the values
    that the file wants black and white in X-Window-Low and X-Window-High, and in X-Window-Function
    whether it says them as DICOM's LINEAR or LINEAR_EXACT. X-Rescale-Slope times a value plus
    X-Rescale-Intercept is the value in the file's own units.
    """
    sha256 = await run_sync(_find_image, service, study_id)
    data = await run_sync(service.record.images.get, sha256)
    raw = await asyncio.wrap_future(
        service.intake.decoder.run("The image", previews.unfold_pixels, data)
    )
    facts = {
        "X-Width": raw.width,
        "X-Height": raw.height,
        "X-Bits": raw.bits,
        "X-Window-Low": raw.window[0],
        "X-Window-High": raw.window[1],
        "X-Window-Function": "LINEAR_EXACT" if raw.is_exact else "LINEAR",
        "X-Rescale-Slope": raw.slope,
        "X-Rescale-Intercept": raw.intercept,
    }
    headers = {**_UNKEPT, **{name: str(value) for name, value in facts.items()}}
    return Response(raw.data, media_type="application/octet-stream", headers=headers)


@router.get("/predictions/{prediction_id}/heatmap.png", **_describe("image/png", "Influence."))
async def show_overlay(service: ServiceDependency, prediction_id: str) -> Response:
    """Return the influence map alone, to be laid over the image; not the location of pneumonia."""
    finding, data = await run_sync(_find_map, service, prediction_id)
    run = service.intake.decoder.run
    size = await asyncio.wrap_future(run("The image", previews.measure_image, data))
    picture = await asyncio.wrap_future(run("The image", previews.draw_overlay, finding, size))
    return Response(picture, media_type="image/png", headers=_UNKEPT)


@router.get("/predictions/{prediction_id}/heatmap.jpg", **_describe("image/jpeg", "The overlay."))
async def show_heatmap(service: ServiceDependency, prediction_id: str) -> Response:
    """Return the influence map on the image, with its caption."""
    finding, data = await run_sync(_find_map, service, prediction_id)
    picture = await asyncio.wrap_future(
        service.intake.decoder.run("The image", previews.draw_heatmap_picture, data, finding)
    )
    return Response(picture, media_type="image/jpeg", headers=_UNKEPT)


def _keep_thumbnail(service: Service, store: PreviewStore, sha256: str, picture: bytes) -> None:
    """Keep a thumbnail, unless its image was deleted while it was drawn."""
    with service.record.keep_images(), service.record.read() as session:
        if session.get(Image, sha256) is not None:
            store.put(sha256, picture)


def _find_image(service: Service, study_id: str) -> str:
    with service.record.read() as session:
        return get_study(session, study_id).image_sha256


def _find_map(service: Service, prediction_id: str) -> tuple[Finding, bytes]:
    with service.record.read() as session:
        prediction, study = get_prediction(session, prediction_id)
        finding = read_finding(prediction, study)
    if finding.activation_map is None or finding.probability is None:
        raise Problem(404, "There is no answer, so there is no heat-map.")
    # How the map lies on the image is not in the record.
    finding = replace(finding, geometry=service.predictor.preprocessing.geometry)
    return finding, service.record.images.get(prediction.image_sha256)

"""Files that are made to do harm: each gets a sentence, and the next image its answer."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

ROUTE = "/api/v1/predictions"
SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_of(width: int, height: int) -> bytes:
    """A PNG of a few hundred kilobytes that claims any number of black pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", rows)
        + _chunk(b"IEND", b"")
    )


def _jpeg(quality: int = 90) -> bytes:
    noise = np.random.default_rng(3).integers(0, 256, (80, 80), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


HOSTILE = {
    "a bomb of pixels": _png_of(60_000, 60_000),
    "a page that calls itself a picture": b"<html><script>alert(1)</script></html>",
    "a drawing with a script": SCRIPT,
    "a picture that breaks off": _jpeg()[:600],
    "the beginning of a picture alone": b"\xff\xd8\xff\xe0",
    "an archive that calls itself a picture": b"PK\x03\x04" + b"\0" * 200,
    "a TIFF whose directory points nowhere": b"II*\0\xff\xff\xff\xff" + b"\0" * 64,
    "a DICOM file of a preamble alone": b"\0" * 128 + b"DICM",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_gets_a_sentence_and_the_next_its_answer(api, paint, what):
    refused = api.post(ROUTE, files={"file": ("chest.png", HOSTILE[what], "image/png")})
    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"].startswith("chest.png")
    assert refused.json()["detail"].endswith(".")
    assert api.post(ROUTE, files={"file": ("next.png", paint())}).status_code == 201


def test_what_hides_behind_a_picture_never_reaches_a_browser_as_a_page(api):
    record = api.post(ROUTE, files={"file": ("x.jpg", _jpeg() + SCRIPT)}).json()
    original = api.get(f"/api/v1/studies/{record['study']}/image")
    assert original.headers["content-type"] == "application/octet-stream"
    assert original.headers["content-disposition"].startswith("attachment")
    assert original.headers["x-content-type-options"] == "nosniff"
    thumbnail = api.get(f"/api/v1/studies/{record['study']}/thumbnail.jpg").content
    assert b"script" not in thumbnail  # it is drawn anew, not passed on


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\chest.png", "chest.png"),
        ("<script>alert(1)</script>.png", "script>.png"),
        ("chest\u202egnp.exe", "chestgnp.exe"),
        ("x" * 400 + ".png", "x" * 251 + ".png"),
        ("胸部.png", "胸部.png"),
    ],
)
def test_a_files_name_is_a_label_of_its_last_part_without_what_cannot_be_seen(
    api, paint, sent, kept
):
    record = api.post(ROUTE, files={"file": (sent, paint())}).json()
    assert record["path"] == kept

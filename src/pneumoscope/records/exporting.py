"""Exporting: what people said becomes labelled images, which train, evaluate and recalibrate take.

One row an image, with the label that was given last. `patient` is the record's opaque id, not the
key. The images are as they were sent: what a DICOM header says of a patient stands in it.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pneumoscope._files import build_folder
from pneumoscope.errors import RecordError
from pneumoscope.records.backup import name_disk, require_free
from pneumoscope.records.readings import Labelled, list_labelled
from pneumoscope.records.record import Record

COLUMNS = ("path", "label", "patient", "study", "reader", "read_at")
_MANIFEST = "manifest.csv"
#: What files begin with, and from which byte on.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG", ".png"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (128, b"DICM", ".dcm"),
    (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"),
)


@dataclass(frozen=True)
class Export:
    """What was exported."""

    images: int
    left_out: tuple[str, ...]
    """Why images are not there, a sentence each."""


def export_readings(
    record: Record, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> Export:
    """Write a new folder of `manifest.csv` and the images that it names.

    Parameters
    ----------
    progress
        Called with the images written and how many there are.

    Raises
    ------
    RecordError
        The folder is not empty, or no reading gives a label yet.
    """
    require_free(out, "An export")
    rows = _list_rows(record)
    if not rows:
        raise RecordError("No reading gives a label yet: there is nothing to export.")
    manifest = _Manifest()
    with name_disk(out), build_folder(out) as staging:
        (staging / "images").mkdir(mode=0o700)
        for done, (row, name, data) in enumerate(_read_images(record, rows, manifest), start=1):
            (staging / name).write_bytes(data)
            manifest.add(name, row)
            if progress:
                progress(done, len(rows))
        (staging / _MANIFEST).write_text(manifest.text, encoding="utf-8", newline="")
    out.chmod(0o700)  # a DICOM file says whose it is
    return Export(manifest.images, tuple(manifest.left_out))


def write_readings_zip(record: Record, stream: BinaryIO) -> Export:
    """Write the same as a zip; no more than one image is held in memory.

    Parameters
    ----------
    stream
        Only written to, never sought in: it may be a connection.
    """
    manifest = _Manifest()
    # Radiographs are compressed already. The manifest comes last, when it is known what is there.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for row, name, data in _read_images(record, _list_rows(record), manifest):
            archive.writestr(zipfile.ZipInfo(name), data)
            manifest.add(name, row)
        archive.writestr(zipfile.ZipInfo(_MANIFEST), manifest.text)
    return Export(manifest.images, tuple(manifest.left_out))


class _Manifest:
    """The table of an export, as it grows."""

    def __init__(self) -> None:
        self._stream = io.StringIO(newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self.images = 0
        self.left_out: list[str] = []

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def add(self, name: str, row: Labelled) -> None:
        read_at = row.read_at.isoformat(timespec="seconds")
        self._writer.writerow(
            (name, row.label, row.patient_id or "", row.study_id, row.reader, read_at)
        )
        self.images += 1


def _list_rows(record: Record) -> list[Labelled]:
    """Return one row an image: the label that was given last, to whichever study of it."""
    with record.read() as session:
        rows = sorted(list_labelled(session), key=lambda row: (row.read_at, row.study_id))
    return list({row.image_sha256: row for row in rows}.values())


def _read_images(
    record: Record, rows: list[Labelled], manifest: _Manifest
) -> Iterator[tuple[Labelled, str, bytes]]:
    """Yield images with their names; what is missing or damaged is noted."""
    for row in rows:
        try:
            data = record.images.get(row.image_sha256)
        except RecordError as error:  # or it was forgotten just now
            manifest.left_out.append(str(error))
            continue
        yield row, f"images/{row.image_sha256}{_find_suffix(data)}", data


def _find_suffix(data: bytes) -> str:
    """Return the suffix that goes with a file's content; none where it is not known."""
    for start, signature, suffix in _SIGNATURES:
        if data.startswith(signature, start):
            return suffix
    return ""

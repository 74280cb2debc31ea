"""Uploads: what a request carries becomes images with labels; no name ever becomes a path."""

from __future__ import annotations

import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from pneumoscope.datasets import check_growth
from pneumoscope.errors import ArchiveError
from pneumoscope.images import is_visible
from pneumoscope.records import LONGEST_KEY, clean_key
from pneumoscope.workbench.problems import Problem
from pneumoscope.workbench.settings import Limits

_LONGEST_NAME = 255
#: How an archive with files begins, and one without.
_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
#: What Python's zipfile raises of archives that are damaged or unusual.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError,
    NotImplementedError,
)  # fmt: skip


class Upload(NamedTuple):
    """One image of a request, or why there is none."""

    name: str
    data: bytes | None
    message: str = ""


def clean_name(name: str | None) -> str:
    """Return a file's name as a label: its last part, without characters that cannot be shown."""
    last = PurePosixPath((name or "").replace("\\", "/")).name
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C")
    return shown.strip()[-_LONGEST_NAME:] or "image"


def check_patient(key: str | None) -> str | None:
    """Return a patient's key as it is kept; None where there is none.

    Raises
    ------
    Problem
        It is too long, or holds characters that cannot be shown.
    """
    typed = unicodedata.normalize("NFC", (key or "").strip())
    kept = clean_key(key)
    if (kept or "") != typed:
        raise Problem(
            422, f"A patient's key has at most {LONGEST_KEY} characters, all of which show."
        )
    return kept


def check_date(text: str | None) -> date | None:
    """Return the day that a radiograph was taken; None where nobody says.

    Raises
    ------
    Problem
        It is no date, or lies in the future.
    """
    if text is None or not text.strip():
        return None
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise Problem(422, "The date is written as 2026-01-31.") from None
    if day > date.today() or day.year < 1895:  # no radiograph is older than the X-ray
        raise Problem(422, "The date lies in the future, or before there were X-rays.")
    return day


def is_zip(file: BinaryIO) -> bool:
    """Whether a file is a zip archive, by its content."""
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    return start in _ZIP_MARKS


def open_upload(file: BinaryIO, name: str | None, size: int, limits: Limits) -> Iterator[Upload]:
    """Yield the images of one file that was sent: itself, or what its archive holds."""
    label = clean_name(name)
    if is_zip(file):
        yield from _open_zip(file, label, size, limits)
    elif size > limits.file_bytes:
        yield Upload(label, None, _too_large(label, limits))
    else:
        file.seek(0)
        yield Upload(label, file.read())


def _open_zip(file: BinaryIO, label: str, size: int, limits: Limits) -> Iterator[Upload]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and is_visible(m.filename)]
            if len(members) > limits.files:
                yield Upload(label, None, f"{label} holds more than {limits.files:,} files.")
                return
            check_growth(label, size, members)
            if not members:
                yield Upload(label, None, f"{label} holds no files.")
            for member in members:
                yield _read_member(archive, member, limits)
    except ArchiveError as error:
        yield Upload(label, None, str(error))
    except _DAMAGED as error:
        yield Upload(label, None, f"{label} is a damaged archive: {error}.")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: Limits) -> Upload:
    label = clean_name(member.filename)
    if member.flag_bits & 1:
        return Upload(label, None, f"{label} is encrypted: unpack the archive, and send the files.")
    if member.file_size > limits.file_bytes:
        return Upload(label, None, _too_large(label, limits))
    try:
        with archive.open(member) as stream:
            data = stream.read(member.file_size + 1)
    except _DAMAGED as error:
        return Upload(label, None, f"{label} is damaged in its archive: {error}.")
    if len(data) > member.file_size:
        return Upload(label, None, f"{label} is larger than its archive says.")
    if data.startswith(_ZIP_MARKS):
        return Upload(label, None, f"{label} is an archive within an archive: send it by itself.")
    return Upload(label, data)


def _too_large(label: str, limits: Limits) -> str:
    return f"{label} has more than {limits.file_bytes >> 20} MiB, the most allowed."

"""Backup: all of a record in plain files, for either database, whole or not at all.

A backup is a folder:

- `backup.json`: format, step of the tables, the log's head, and rows and sha256 of every table;
- `tables/NAME.jsonl`: a row a line; bytes as base64, moments and dates as ISO 8601;
- `images/`: the images, named by their sha256 as in the record.

Who was signed in is left out: after a restore people sign in again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Table as SqlTable
from sqlalchemy import func, select
from sqlalchemy.orm import Session as DatabaseSession

from pneumoscope import __version__
from pneumoscope._files import build_folder
from pneumoscope.errors import RecordError
from pneumoscope.records.content_store import ContentStore
from pneumoscope.records.database import REVISION
from pneumoscope.records.log import Head, find_last
from pneumoscope.records.record import Record
from pneumoscope.records.tables import Folder, Image, Session, Table

SCHEMA = "pneumoscope.backup/1"
MANIFEST = "backup.json"
#: In the order in which rows can be inserted; a restored record has a folder of its own.
TABLES: tuple[SqlTable, ...] = tuple(
    table
    for table in Table.metadata.sorted_tables
    if table not in (Session.__table__, Folder.__table__)
)
_ROWS_AT_ONCE = 500
_PIECE = 1 << 20


@dataclass(frozen=True)
class TableFile:
    """A table in a backup."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class Backup:
    """What a backup holds, as `backup.json` says it."""

    version: str
    revision: str
    made_at: str
    head: Head | None
    """Of the log; where it did not follow from its kept head, that head, to be found later."""
    tables: dict[str, TableFile]
    images: int
    left_out: tuple[str, ...]
    """Images that were missing or not what their name says."""


def back_up(
    record: Record, destination: Path, *, progress: Callable[[int, int], None] | None = None
) -> Backup:
    """Write one state of a record into a new folder, while it goes on being used.

    Parameters
    ----------
    progress
        Called with the images copied and how many there are.

    Raises
    ------
    RecordError
        The destination is not empty, or lies within the record.
    """
    require_free(destination, "A backup")
    if destination.resolve().is_relative_to(record.folder.resolve()):
        raise RecordError(
            f"A backup is lost with the record's folder, and {destination} lies within "
            f"{record.folder}: name a folder elsewhere, best on another disk."
        )
    with name_disk(destination), build_folder(destination) as staging:
        for name in ("tables", "images"):  # closed, whatever becomes of the folder around them
            (staging / name).mkdir(mode=0o700)
        store = ContentStore(staging / "images")
        _copy_known(record, store, progress)
        head = _read_head(record)
        with record.read() as session:
            with record.keep_images():  # all that this session sees stay until they are copied
                broken = next(record.head.find_breaks(session), None)
                left_out = tuple(_copy_missing(record, store, session))
            _remove_forgotten(store, session)
            tables = {
                table.name: _write_table(session, table, staging / "tables") for table in TABLES
            }
            last = find_last(session)
        backup = Backup(
            version=__version__,
            revision=REVISION,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            head=head if broken else last,
            tables=tables,
            images=tables[Image.__tablename__].rows - len(left_out),
            left_out=left_out,
        )
        _write_manifest(backup, staging / MANIFEST)
    destination.chmod(0o700)
    return backup


def require_free(folder: Path, what: str) -> None:
    """Refuse a folder that holds something.

    Raises
    ------
    RecordError
        It does, or is none.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RecordError(f"{what} goes into a new folder, and {folder} is there: name another.")


@contextmanager
def name_disk(place: Path) -> Iterator[None]:
    """Say where there was no room: a full disk names no file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(place)
        raise


def copy_image(source: Path, store: ContentStore, sha256: str) -> bool:
    """Copy a file into a store and sync it; False where it is not what its name says.

    It never changes, so that a link would do, but a link is lost with the disk.
    """
    target, digest = store.find(sha256), hashlib.sha256()
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        while piece := reader.read(_PIECE):
            digest.update(piece)
            writer.write(piece)
        writer.flush()
        os.fsync(writer.fileno())
    if digest.hexdigest() != sha256:
        target.unlink()
        return False
    return True


def _copy_known(
    record: Record, store: ContentStore, progress: Callable[[int, int], None] | None
) -> None:
    """Copy the images that are known now: most of the work, before anything is held up."""
    done, last = 0, ""
    while True:
        with record.read() as session:
            total = session.scalar(select(func.count()).select_from(Image)) or 0
            page = select(Image.sha256).where(Image.sha256 > last).order_by(Image.sha256)
            batch = session.scalars(page.limit(_ROWS_AT_ONCE)).all()
        if not batch:
            return
        for last in batch:
            _copy_if_there(record, store, last)
            done += 1
            if progress:
                progress(done, max(done, total))


def _copy_missing(record: Record, store: ContentStore, session: DatabaseSession) -> Iterator[str]:
    """Copy the images that came meanwhile; yield those that cannot be copied."""
    rows = select(Image.sha256).order_by(Image.sha256).execution_options(yield_per=_ROWS_AT_ONCE)
    for sha256 in session.scalars(rows):
        if not store.find(sha256).is_file() and not _copy_if_there(record, store, sha256):
            yield sha256


def _copy_if_there(record: Record, store: ContentStore, sha256: str) -> bool:
    try:
        return copy_image(record.images.find(sha256), store, sha256)
    except FileNotFoundError:
        store.remove(sha256)
        return False


def _remove_forgotten(store: ContentStore, session: DatabaseSession) -> None:
    """Remove the copies of images that were deleted before the session began."""
    copies = store.walk()
    while batch := list(islice(copies, _ROWS_AT_ONCE)):
        known = set(session.scalars(select(Image.sha256).where(Image.sha256.in_(batch))))
        for sha256 in set(batch) - known:
            store.remove(sha256)


def _write_table(session: DatabaseSession, table: SqlTable, folder: Path) -> TableFile:
    rows, digest = 0, hashlib.sha256()
    statement = select(table).order_by(*table.primary_key.columns)
    with (folder / f"{table.name}.jsonl").open("wb") as stream:
        for row in session.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE)):
            values = {name: _encode(value) for name, value in row._mapping.items()}
            line = json.dumps(values, separators=(",", ":")).encode() + b"\n"
            stream.write(line)
            digest.update(line)
            rows += 1
        stream.flush()
        os.fsync(stream.fileno())
    return TableFile(rows, digest.hexdigest())


def _encode(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if isinstance(value, datetime | date) else value


def _write_manifest(backup: Backup, file: Path) -> None:
    said = {"schema": SCHEMA, **asdict(backup)}
    said["head"] = backup.head._asdict() if backup.head else None
    with file.open("w", encoding="utf-8") as stream:
        json.dump(said, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())


def _read_head(record: Record) -> Head | None:
    try:
        return record.head.read()
    except RecordError:  # it was changed: what it said cannot be carried over
        return None

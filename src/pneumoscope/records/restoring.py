"""Restoring: a backup becomes a record again, on the same kind of database or on the other."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Column, TypeDecorator, delete, event, func, insert, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session as DatabaseSession

from pneumoscope._files import build_folder
from pneumoscope.errors import RecordError
from pneumoscope.records.backup import (
    MANIFEST,
    SCHEMA,
    TABLES,
    Backup,
    TableFile,
    copy_image,
    name_disk,
    require_free,
)
from pneumoscope.records.content_store import ContentStore
from pneumoscope.records.database import REVISION, Database, name_failures
from pneumoscope.records.log import Head, HeadFile
from pneumoscope.records.record import Record
from pneumoscope.records.tables import Folder, Image
from pneumoscope.records.verification import Verification, verify_record

_ROWS_AT_ONCE = 500


def restore(
    folder: Path,
    database: str | None,
    source: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Make a record from a backup, and verify it; every hash is checked before any is written.

    Parameters
    ----------
    folder
        Of the record: a new one.
    database
        Address of an empty database; SQLite within the folder where it is None.
    source
        The folder of the backup.
    progress
        Called with the images done and how many there are; each is read twice.

    Raises
    ------
    RecordError
        The backup is damaged or of another version, the folder or the database is not empty.
    """
    require_free(folder, "A record")
    backup = read_backup(source)
    images = ContentStore(source / "images")
    advice = "verify the record that the backup is of, and name an empty database"
    if database is not None:
        with (
            name_failures("The new database", advice),
            closing(_open(database)) as other,
            _begin(other),
        ):
            pass  # better refused now than after an hour of hashing
    _check_tables(backup, source)
    hashes = _Hashes(source, backup, progress)
    for sha256 in hashes:
        if not images.holds(sha256):
            raise RecordError(f"The backup is damaged: the image {sha256} is not what it was.")
    try:
        with name_disk(folder), name_failures("The new database", advice):
            _write(folder, database, source, backup, hashes)
    except BaseException:
        # The rows of another database come last: without them the images are nobody's.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    folder.chmod(0o700)
    with Record(folder, database) as record:
        return verify_record(record)


def _write(
    folder: Path, database: str | None, source: Path, backup: Backup, hashes: _Hashes
) -> None:
    """Write folder and rows so that what makes the record visible comes last."""
    with ExitStack() as stack:
        if database is None:
            staging = stack.enter_context(build_folder(folder))
            # Not as text: a folder's name may hold what an address gives a meaning.
            within = _open(URL.create("sqlite", database=str(staging / "record.sqlite")))
            session = stack.enter_context(_begin(stack.enter_context(closing(within))))
        else:
            other = stack.enter_context(closing(_open(database)))
            session = stack.enter_context(_begin(other))
            staging = stack.enter_context(build_folder(folder))
        for table in TABLES:
            _insert_rows(session, table, source)
        (staging / "images").mkdir(mode=0o700)
        store, images = ContentStore(staging / "images"), ContentStore(source / "images")
        for sha256 in hashes:
            if not copy_image(images.find(sha256), store, sha256):
                raise RecordError(f"The image {sha256} of the backup changed while it was read.")
        if backup.head:
            HeadFile(staging / "head.json").advance(backup.head)


def read_backup(source: Path) -> Backup:
    """Return what a backup says of itself.

    Raises
    ------
    RecordError
        It is no backup, or of another version.
    """
    try:
        said = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        if said.pop("schema") != SCHEMA:
            raise ValueError
        tables = {name: TableFile(**entry) for name, entry in said.pop("tables").items()}
        head = said.pop("head")
        left_out = tuple(said.pop("left_out"))
        backup = Backup(
            **said, tables=tables, head=Head(**head) if head else None, left_out=left_out
        )
    except OSError as error:
        raise RecordError(f"{source} is no backup: it has no readable {MANIFEST}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{source / MANIFEST} is damaged, or not of this version.") from error
    if backup.revision != REVISION or set(backup.tables) != {table.name for table in TABLES}:
        raise RecordError(
            f"The backup was written by version {backup.version} (step {backup.revision}), this "
            f"one knows step {REVISION}: restore it with that version, then upgrade."
        )
    return backup


class _Hashes:
    """The images of a backup, to be gone through twice."""

    def __init__(
        self, source: Path, backup: Backup, progress: Callable[[int, int], None] | None
    ) -> None:
        self._source = source
        self._left_out = set(backup.left_out)
        self._total = 2 * backup.images
        self._done = 0
        self._progress = progress

    def __iter__(self) -> Iterator[str]:
        for row in _read_rows(Image.__table__, self._source):  # type: ignore[arg-type]
            if row["sha256"] in self._left_out:
                continue
            yield row["sha256"]
            self._done += 1
            if self._progress:
                self._progress(self._done, self._total)


def _check_tables(backup: Backup, source: Path) -> None:
    for name, said in backup.tables.items():
        rows, digest = 0, hashlib.sha256()
        try:
            with _find_rows(source, name).open("rb") as stream:
                for line in stream:
                    digest.update(line)
                    rows += 1
        except FileNotFoundError as error:
            raise RecordError(f"The backup is damaged: its table {name} is missing.") from error
        if (rows, digest.hexdigest()) != (said.rows, said.sha256):
            raise RecordError(f"The backup is damaged: its table {name} is not what it was.")


def _open(url: str | URL) -> Database:
    """Open a database that takes rows as they were, also where those that they name were deleted.

    PostgreSQL takes none such, for no one.
    """
    database = Database(url)
    if database.is_sqlite:
        event.listen(database.engine, "connect", _leave_unchecked)
    return database


def _leave_unchecked(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")


@contextmanager
def _begin(target: Database) -> Iterator[DatabaseSession]:
    """Make the tables of an empty database, and begin to write."""
    target.migrate()
    with target.begin() as session:
        for table in TABLES:
            if session.scalar(select(func.count()).select_from(table)):
                raise RecordError(
                    f"{target.url.render_as_string()} holds a record: name an empty database."
                )
        session.execute(delete(Folder))  # of a record that was begun there, and stayed empty
        yield session


def _insert_rows(session: DatabaseSession, table: SqlTable, source: Path) -> None:
    rows = _read_rows(table, source)
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        session.execute(insert(table), batch)


def _read_rows(table: SqlTable, source: Path) -> Iterator[dict[str, Any]]:
    kinds = {column.name: _find_kind(column) for column in table.columns}
    with _find_rows(source, table.name).open("rb") as stream:
        for line in stream:
            yield {name: _decode(value, kinds[name]) for name, value in json.loads(line).items()}


def _find_rows(source: Path, table: str) -> Path:
    return source / "tables" / f"{table}.jsonl"


def _find_kind(column: Column[Any]) -> type:
    own = column.type  # `UtcDateTime` does not say what it is made of
    return (own.impl_instance if isinstance(own, TypeDecorator) else own).python_type


def _decode(value: Any, kind: type) -> Any:
    if value is None:
        return None
    if kind is bytes:
        return base64.b64decode(value)
    return kind.fromisoformat(value) if kind in {datetime, date} else value

"""The record: database, images and log of one service, in one folder."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import platformdirs
from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from pneumoscope._closing import Closing
from pneumoscope._files import write_atomically
from pneumoscope.errors import RecordError
from pneumoscope.records.content_store import ContentStore
from pneumoscope.records.database import REVISION, Database, name_failures
from pneumoscope.records.locks import hold_lock
from pneumoscope.records.log import HeadFile, find_last
from pneumoscope.records.tables import Folder, Table

T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)


class Record(Closing):
    """What a service knows: studies, answers, readings, users, and the log of it all.

    Parameters
    ----------
    folder
        Holds the images, the log's head and, by default, the database.
    database
        Address of another database; SQLite within the folder by default.
    head
        Where the log's head is kept too; a place that the database's owner cannot write is best.

    Raises
    ------
    RecordError
        The database does not answer, is newer than this version, lacks a table, or has its
        images in another folder.
    """

    def __init__(
        self, folder: Path, database: str | None = None, *, head: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if os.name == "posix":
            folder.chmod(0o700)  # it holds people's images
        self.folder = folder
        self.images = ContentStore(folder / "images")
        self.head = HeadFile(folder / "head.json")
        #: The head in the folder, and the one elsewhere.
        self.heads = (self.head, HeadFile(head)) if head else (self.head,)
        # Not as text: a folder's name may hold what an address gives a meaning.
        own = URL.create("sqlite", database=str(folder / "record.sqlite"))
        self.database = Database(database or own)
        advice = "see whether its disk is full; where it was damaged, restore a backup"
        try:
            with name_failures(f"The database of {folder}", advice):
                if self.database.find_revision() != REVISION:
                    self.database.migrate()
                self.check()
                self._check_folder()
                self._begin_heads()
        except BaseException:
            self.database.close()
            raise

    def check(self) -> None:
        """Check that the database answers and has its tables.

        Raises
        ------
        RecordError
            It does not, or one was taken away.
        """
        self.database.check_tables(Table.metadata.tables)

    def _check_folder(self) -> None:
        """Refuse a database whose images are in another folder: each would miss the other's."""
        own = self.folder / "folder.id"
        if not own.exists():
            with hold_lock(own.with_suffix(".lock")):
                if not own.exists():
                    write_atomically(own, f"{uuid.uuid4()}\n", mode=0o600)
        name = own.read_text(encoding="utf-8").strip()
        with self.read() as session:
            known = session.scalar(select(Folder.id))
        if known is None:
            with self.database.begin() as session:
                known = session.scalar(select(Folder.id)) or name
                session.merge(Folder(id=known))
        if known != name:
            raise RecordError(
                f"{self.database.url.render_as_string()} has its images in another folder than "
                f"{self.folder}: name that one with --record, or another database with --database; "
                "where the folder was lost, restore a backup."
            )

    def _begin_heads(self) -> None:
        """Write heads where there are none: of an empty log, or elsewhere beside one that fits.

        From here on, a head that is missing was taken away.
        """
        missing = [head for head in self.heads if not head.path.exists()]
        if not missing:
            return
        with self.read() as session:
            last = find_last(session)
            known = self.head.path.exists() and next(self.head.find_breaks(session), None) is None
        for head in missing:
            if last.seq == 0 or (known and head is not self.head):
                head.advance(last)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Yield a session that may write, committed at the end; the log's head follows."""
        with self.begin_quickly() as session:
            yield session
        self.advance_heads(session)

    @contextmanager
    def begin_quickly(self) -> Iterator[Session]:
        """Yield a session as `begin` does; whoever calls this has the heads follow soon."""
        with self.database.begin() as session:
            yield session

    def advance_heads(self, committed: Session) -> None:
        """Write the log's last entry to the heads, where a session that is committed added one.

        A head that the log does not follow from stays as it is: a log that grew past it would hide
        that its tail was cut off. Where a head cannot be written, what was committed stands, and
        the next entry tries again.
        """
        if not committed.info.pop("logged", False):
            return
        for head in self.heads:
            try:
                with self.read() as session:
                    last, problem = find_last(session), next(head.find_breaks(session), None)
                if problem is None:
                    head.advance(last)
                else:
                    _LOGGER.error("%s Run `pneumoscope record verify`.", problem)
            except OSError as error:
                _LOGGER.error("%s cannot be written: %s", head.path, error.strerror)
            except SQLAlchemyError as error:
                _LOGGER.error("%s cannot be brought up to date: %s", head.path, error)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one state of the record."""
        with self.database.read() as session:
            yield session

    def write(self, change: Callable[[Session], T]) -> T:
        """Make one change in a transaction of its own, and return what it returns."""
        with self.begin() as session:
            return change(session)

    @contextmanager
    def keep_images(self) -> Iterator[None]:
        """Hold off the deletion of images between their writing and their row's commit."""
        with ExitStack() as stack:
            with hold_lock(self.folder / "images.gate"):
                stack.enter_context(hold_lock(self.folder / "images.lock", shared=True))
            yield

    @contextmanager
    def delete_images(self) -> Iterator[None]:
        """Wait until nobody is between the writing of an image and its row's commit."""
        # Who waits here closes the gate: writers that come one after the other must not keep out
        # whoever deletes for ever.
        with hold_lock(self.folder / "images.gate"), hold_lock(self.folder / "images.lock"):
            yield

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def find_record_folder(named: Path | None = None) -> Path:
    """Return the record's folder: the one named, `PNEUMOSCOPE_RECORD`, or the user's own."""
    chosen = named or os.environ.get("PNEUMOSCOPE_RECORD")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("pneumoscope")) / "record"


def open_record(
    folder: Path | None = None, database: str | None = None, *, head: Path | None = None
) -> Record:
    """Open a record where it is, or begin one.

    What is not named is read from `PNEUMOSCOPE_RECORD`, `PNEUMOSCOPE_DATABASE` and
    `PNEUMOSCOPE_LOG_HEAD`.

    Raises
    ------
    RecordError
        The folder cannot be used, or the database does not answer or is newer.
    """
    place = find_record_folder(folder)
    kept = os.environ.get("PNEUMOSCOPE_LOG_HEAD")
    head = head or (Path(kept) if kept else None)
    try:
        return Record(place, database or os.environ.get("PNEUMOSCOPE_DATABASE"), head=head)
    except OSError as error:
        if head is not None and str(error.filename).startswith(str(head.parent)):
            raise RecordError(
                f"{head} cannot hold the log's head: {error.strerror or error}; name another file "
                "with --log-head."
            ) from error
        raise RecordError(
            f"{place} cannot hold a record: {error.strerror or error}; name another folder with "
            "--record."
        ) from error

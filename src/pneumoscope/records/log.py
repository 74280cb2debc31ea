"""The log: a chain of entries that shows what was changed, taken out or cut off.

Every entry carries the hash of the one before it, so that nothing in the middle can be changed
unseen (Haber and Stornetta 1991, doi:10.1007/BF00196791). The last hash, the head, is also kept in
a file outside the database: a tail that was cut off is missed there. Who can change both can
rewrite history; keep the head's file, or copies of it, where the database's owner cannot write.

An entry holds no patient data. It names a row by its opaque id, and commits to what the row said
by a salted hash whose salt lies in the row: once the row is gone, the hash says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from pneumoscope._files import write_atomically
from pneumoscope.errors import RecordError
from pneumoscope.records.locks import hold_lock
from pneumoscope.records.tables import LogEntry

#: What stands before the first entry.
ORIGIN = "0" * 64


class Head(NamedTuple):
    """The last entry of a log."""

    seq: int
    hash: str


class Event(NamedTuple):
    """Something to be logged."""

    name: str
    """What happened, in a word or two."""
    subject: str | None = None
    """The opaque id of what it is about."""
    digest: str | None = None
    """`commit_to` what the row says now."""


def append_entry(
    session: Session, event: str, subject: str | None = None, digest: str | None = None
) -> None:
    """Add an entry behind all others, in the transaction of what it tells of; see `Event`."""
    append_entries(session, [Event(event, subject, digest)])


def append_entries(session: Session, events: Iterable[Event]) -> None:
    """Add entries behind all others, in order, in the transaction of what they tell of."""
    last, rows = find_last(session), []
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    for event in events:
        entry = {
            "seq": last.seq + 1,
            "at": at,
            "event": event.name,
            "subject": event.subject,
            "digest": event.digest,
            "previous": last.hash,
        }
        last = Head(last.seq + 1, hash_entry(entry))
        rows.append({**entry, "hash": last.hash})
    if rows:
        session.execute(insert(LogEntry.__table__), rows)  # type: ignore[arg-type]
        session.info["logged"] = True


def find_last(session: Session) -> Head:
    """Return the last entry; of an empty log, what stands before the first."""
    row = session.execute(
        select(LogEntry.seq, LogEntry.hash).order_by(LogEntry.seq.desc()).limit(1)
    ).first()
    return Head(row.seq, row.hash) if row else Head(0, ORIGIN)


def hash_entry(entry: dict[str, Any]) -> str:
    """Return the hash that chains an entry: sha256 of its fields as canonical JSON."""
    return hashlib.sha256(_spell(entry)).hexdigest()


def commit_to(facts: dict[str, Any], salt: bytes) -> str:
    """Return a hash of facts that says nothing to whoever has not the salt."""
    return hashlib.sha256(salt + _spell(facts)).hexdigest()


def find_breaks(session: Session) -> Iterator[str]:
    """Yield what is wrong with the chain, a sentence each."""
    previous = Head(0, ORIGIN)
    for row in session.scalars(
        select(LogEntry).order_by(LogEntry.seq).execution_options(yield_per=1000)
    ):
        if row.seq != previous.seq + 1:
            yield f"Entries {previous.seq + 1} to {row.seq - 1} of the log are missing."
        elif row.previous != previous.hash:
            yield f"Entry {row.seq} of the log does not follow from the one before it."
        fields = ("seq", "at", "event", "subject", "digest", "previous")
        if hash_entry({name: getattr(row, name) for name in fields}) != row.hash:
            yield f"Entry {row.seq} of the log was changed."
        previous = Head(row.seq, row.hash)


class HeadFile:
    """Where the log's last hash is kept outside the database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def advance(self, head: Head) -> None:
        """Write a newer head; one that came late, from another process, is passed over."""
        with hold_lock(self.path.with_suffix(".lock")):
            known = self.read()
            if known is None or known.seq < head.seq:
                self._write(head)

    def replace(self, head: Head) -> None:
        """Write a head whatever stood there."""
        with hold_lock(self.path.with_suffix(".lock")):
            self._write(head)

    def read(self) -> Head | None:
        """Return the head as it was last written; None where there is none yet.

        Raises
        ------
        RecordError
            The file holds something else.
        """
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return Head(int(found["seq"]), str(found["hash"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{self.path} is no head of a log: it was changed.") from error

    def find_breaks(self, session: Session) -> Iterator[str]:
        """Yield what the log lacks of what this file has seen, a sentence each."""
        try:
            head, last = self.read(), find_last(session)
        except RecordError as error:
            yield str(error)
            return
        if head is None:
            if last.seq:
                yield f"{self.path} is missing: whether the log's tail was cut off cannot be told."
            return
        if last.seq < head.seq:
            yield f"The log ends at entry {last.seq}, but had {head.seq}: its tail was cut off."
        elif head.seq and head.hash != session.scalar(
            select(LogEntry.hash).where(LogEntry.seq == head.seq)
        ):
            yield f"Entry {head.seq} of the log is not the one that {self.path.name} has seen."

    def _write(self, head: Head) -> None:
        write_atomically(self.path, json.dumps(head._asdict()) + "\n", mode=0o600)


def _spell(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

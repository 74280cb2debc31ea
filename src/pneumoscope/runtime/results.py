"""A file of results: a record a line, written as they are made; an interrupted run goes on."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from pneumoscope._files import replace_atomically, take_lock
from pneumoscope.errors import PneumoscopeError
from pneumoscope.runtime.finding import RECORD_FIELDS, SCHEMA, Finding, Status

#: What all rows of one file share.
_FACTS = ("bundle", "precision", "operating_point")


def encode_jsonl(finding: Finding) -> str:
    """Return the record as a line of JSON; escapes keep it whole in any encoding."""
    return json.dumps(finding.to_record()) + "\n"


def encode_csv(finding: Finding) -> str:
    """Return the record as a row of CSV, its warnings joined by `;`."""
    record = finding.to_record()
    return _join((record | {"warnings": ";".join(record["warnings"])}).values())


def _join(values: Iterable[object]) -> str:
    line = io.StringIO()
    # Python quotes what could be taken for the end of a line, if the line ends so.
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"


CSV_HEADER = _join(RECORD_FIELDS)


class _Form(NamedTuple):
    header: str
    encode: Callable[[Finding], str]
    decode: Callable[[str], Mapping[str, Any]]
    is_whole: Callable[[bytes], bool]
    """Whether a row that ends with a line break ends there."""


_FORMS = {
    ".csv": _Form(
        CSV_HEADER,
        encode_csv,
        lambda text: dict(zip(RECORD_FIELDS, next(csv.reader([text])), strict=True)),
        lambda row: row.count(b'"') % 2 == 0,  # a name may hold a line break, in quotes
    ),
    ".jsonl": _Form("", encode_jsonl, json.loads, lambda row: True),
}


class ResultsFile:
    """The results of one run in one file, .csv or .jsonl, held against other runs.

    Every row is handed to the system at once: whatever kills the run leaves whole rows, and at
    most one torn one at the end.

    Parameters
    ----------
    facts
        `bundle` (its sha256), `precision` and `operating_point`, as the findings will have them.
    resume
        Go on with a file that is there. Rows of what could not be read fall away: it is tried
        again.

    Raises
    ------
    PneumoscopeError
        Another suffix, a file that is there (without `resume`), in use, made with other facts, or
        no results; such a file is left as it is.
    """

    def __init__(self, path: Path, facts: Mapping[str, str], *, resume: bool = False) -> None:
        check_results_name(path)
        self.path = path
        self.counts: Counter[str] = Counter()
        """Rows by decision, and `ERROR`."""
        self._form = _FORMS[path.suffix.lower()]
        self._done: dict[str, None] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._stream = _open_locked(path, "a" if resume else "x")
        except FileExistsError:
            raise PneumoscopeError(
                f"{path} exists: add --resume to go on with it, or choose another --out."
            ) from None
        try:
            self._start(facts)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            os.fsync(self._stream.fileno())  # results outlast a power cut
        self._stream.close()

    def holds(self, path: str) -> bool:
        """Whether the file held the answer to this image when it was opened."""
        return _key(path) in self._done

    def add(self, finding: Finding) -> None:
        """Write a finding behind all others."""
        self._write(self._form.encode(finding))
        self.counts[_label(finding.status, finding.decision)] += 1

    def count(self) -> int:
        """Return how many whole rows the file holds, also where a row was not counted yet."""
        return sum(1 for _ in self._read())

    def sort(self, paths: Iterable[str]) -> None:
        """Bring the rows into the order of `paths`, those of other images first, if they are not.

        Whole or not at all; where nothing was there before, there is nothing to do.
        """
        order = [_key(path) for path in paths]
        if list(self._done) == order[: len(self._done)]:
            return
        places, start = {}, len(self._form.header)
        for row, record in self._read():
            places[_key(record["path"])] = (start, len(row))
            start += len(row)
        named = set(order)
        others = [path for path in places if path not in named]
        with (
            self.path.open("rb") as old,
            replace_atomically(self.path) as temporary,
            temporary.open("wb") as new,
        ):
            new.write(self._form.header.encode())
            for path in (*others, *order):
                start, length = places[path]
                old.seek(start)
                new.write(old.read(length))

    # -- inside -------------------------------------------------------------------------------

    def _start(self, facts: Mapping[str, str]) -> None:
        """Read what is there, and make it whole."""
        size = self.path.stat().st_size
        kept = len(self._form.header)
        for row, record in self._read():
            self._check(record, facts)
            if record["status"] != Status.ERROR:
                self._done[_key(record["path"])] = None
                self.counts[_label(record["status"], record["decision"])] += 1
                kept += len(row)
        if size == 0:
            self._write(self._form.header)
        elif kept != size:
            self._rewrite()

    def _rewrite(self) -> None:
        """Leave out what is torn or was no answer."""
        with replace_atomically(self.path) as temporary, temporary.open("wb") as new:
            new.write(self._form.header.encode())
            new.writelines(row for row, record in self._read() if record["status"] != Status.ERROR)
        self._stream.close()
        self._stream = _open_locked(self.path, "a")

    def _read(self) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
        """Yield the whole rows, as they stand and as records."""
        header = self._form.header.encode()
        with self.path.open("rb") as stream:
            start = stream.read(len(header))
            if start != header:
                if header.startswith(start):
                    return  # killed before anything was written
                raise self._describe_damage()
            row = b""
            for line in stream:
                row += line
                if row.endswith(b"\n") and self._form.is_whole(row):
                    try:
                        record = self._form.decode(row.decode())
                        missing = {"schema", "path", "status", "decision", *_FACTS} - record.keys()
                    except (ValueError, AttributeError, csv.Error) as error:
                        raise self._describe_damage() from error
                    if missing or record["schema"] != SCHEMA:
                        raise self._describe_damage()
                    yield row, record
                    row = b""

    def _describe_damage(self) -> PneumoscopeError:
        return PneumoscopeError(
            f"{self.path} holds something else than results of this version: choose another --out."
        )

    def _check(self, record: Mapping[str, Any], facts: Mapping[str, str]) -> None:
        differing = [
            f"{name.replace('_', ' ')} {_shorten(record[name])}, not {_shorten(facts[name])}"
            for name in _FACTS
            if record[name] != facts[name]
        ]
        if differing:
            raise PneumoscopeError(
                f"{self.path} was made with {' and '.join(differing)}: resume it with the same, "
                "or choose another --out."
            )

    def _write(self, text: str) -> None:
        # A name may hold bytes that are no text; the file is text all the same.
        rest = memoryview(text.encode(errors="backslashreplace"))
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise PneumoscopeError(
                f"{self.path} cannot be written: {error.strerror}; the results that it holds stay, "
                "and --resume goes on with them."
            ) from error


def check_results_name(path: Path) -> None:
    """Check that results can be written under this name, before anything else is done.

    Raises
    ------
    PneumoscopeError
        It ends with neither .csv nor .jsonl.
    """
    if path.suffix.lower() not in _FORMS:
        raise PneumoscopeError(f"--out takes a name that ends with {' or '.join(_FORMS)}: {path}.")


def _open_locked(path: Path, mode: str) -> io.FileIO:
    """Open a file, unbuffered, that nobody else may write at the same time."""
    stream = io.FileIO(path, mode)
    # Another run may have put a new file in place of this one while it was being opened.
    if take_lock(stream.fileno()) and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
        return stream
    stream.close()
    raise PneumoscopeError(
        f"{path} is in use by another run: wait for it, or choose another --out."
    )


def _shorten(value: object) -> str:
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}…"  # the start of a hash tells enough


def _key(path: str) -> str:
    """Return a path as a file of text has it."""
    return path.encode(errors="backslashreplace").decode()


def _label(status: str, decision: str | None) -> str:
    return decision or str(status).upper()

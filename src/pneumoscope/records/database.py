"""The database behind the record: SQLite in its folder, or PostgreSQL by its address."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from pneumoscope._extras import require_extra
from pneumoscope.errors import RecordError

#: The newest step in `migrations/versions`.
REVISION = "0002"
_MIGRATIONS = Path(__file__).with_name("migrations")
#: Where Alembic keeps the step; it stays, empty, when all tables are taken down.
_STEPS = "alembic_version"
#: One writer at a time, wherever a database has no single lock: any number that nobody else takes.
_WRITER_LOCK = 7_365_001


class Database:
    """Reads in a snapshot, writes one after the other; either whole or not at all.

    Parameters
    ----------
    url
        `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Raises
    ------
    RecordError
        The address is not understood, nobody answers there, or what lies there is newer.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = _read_url(url)
        self.engine = _create_engine(self.url)
        self._writing = self.engine.execution_options(writes=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of this machine."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Yield a session that may write; it is committed at the end, or undone on an error."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            self._lock_writers(session.connection())
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one state of the record, whatever is written meanwhile."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if not self.is_sqlite:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    def find_revision(self) -> str | None:
        """Return the step that the database stands at; None where it is empty."""
        with self._connect() as connection:
            return _find_revision(connection)

    def check_tables(self, names: Iterable[str]) -> None:
        """Check that tables are there.

        Raises
        ------
        RecordError
            One was taken away.
        """
        with self._connect() as connection:
            lacking = sorted(set(names) - set(inspect(connection).get_table_names()))
        if lacking:
            raise RecordError(
                f"{self.url.render_as_string()} lacks the table {lacking[0]}: somebody took it "
                "away; restore a backup with `pneumoscope record restore`."
            )

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to a step, up or down; where they stand there, nothing is done.

        Raises
        ------
        RecordError
            The database was written by a newer version, or holds something else.
        """
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        known = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
        with self._connect(writes=True) as connection:
            found = _find_revision(connection)
            if found is not None and found not in known:
                raise RecordError(
                    f"The database was written by a newer version (step {found}, this one knows "
                    f"{REVISION}): upgrade Pneumoscope."
                )
            if found is None and set(inspect(connection).get_table_names()) - {_STEPS}:
                raise RecordError(
                    f"{self.url.render_as_string()} holds tables of something else: name an empty "
                    "database."
                )
            config.attributes["connection"] = connection
            order = [*reversed(known)]
            target = order[-1] if revision == "head" else revision
            if target != "base" and target not in order:
                raise RecordError(f"There is no step {revision!r}: choose {', '.join(order)}.")
            down = target == "base" or (
                found is not None and order.index(target) < order.index(found)
            )
            (command.downgrade if down else command.upgrade)(config, target)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _connect(self, writes: bool = False) -> Iterator[Connection]:
        engine = self._writing if writes else self.engine
        try:
            connection = engine.connect()
        except DBAPIError as error:
            raise RecordError(
                f"{self.url.render_as_string()} does not answer: {_first_line(error.orig)}."
            ) from error
        with connection, connection.begin():
            if writes:
                self._lock_writers(connection)
            yield connection

    def _lock_writers(self, connection: Connection) -> None:
        """Wait until nobody else writes, to the end of the transaction; SQLite does so itself."""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})


@contextmanager
def name_failures(database: str, advice: str) -> Iterator[None]:
    """Say in a sentence what a database refuses, as where a table was dropped or a disk is full.

    Parameters
    ----------
    database
        What it is called.
    advice
        What to do then.

    Raises
    ------
    RecordError
        It refused something.
    """
    try:
        yield
    except DBAPIError as error:
        raise RecordError(
            f"{database} cannot be used: {_first_line(error.orig)}; {advice}."
        ) from error


def _read_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise RecordError(
            "--database takes sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME, found "
            "something else."  # what was found may hold a password
        ) from error
    kind = parsed.drivername.partition("+")[0]
    if kind in {"postgres", "postgresql"}:
        require_extra("postgresql", "psycopg", purpose="A PostgreSQL database")
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or not parsed.database:
        raise RecordError(
            f"--database takes sqlite:///FILE or postgresql://…, found {kind!r} "
            f"{'without a file' if kind == 'sqlite' else ''}".rstrip()
            + "."
        )
    return parsed


def _create_engine(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            pool_size=8,
            max_overflow=48,
            pool_pre_ping=not _is_file(url),
            hide_parameters=True,  # an error is logged, and they hold patients' keys
        )
    except (NoSuchModuleError, SQLAlchemyError) as error:
        raise RecordError(f"{url.render_as_string()} cannot be opened: {error}.") from error
    if _is_file(url):
        event.listen(engine, "do_connect", _make_file)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _is_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _make_file(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> None:
    """Close a new database to others; SQLite gives the files beside it the mode of this one."""
    if arguments[0] == ":memory:" or options.get("uri"):
        return
    # One that is there is let be: to open it and close it again would give up SQLite's locks on it.
    with suppress(OSError):
        os.close(os.open(arguments[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Make SQLite keep what it acknowledged through a power cut, and readers not wait."""
    connection.isolation_level = None  # transactions begin where we say
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "secure_delete=ON",  # what is deleted is overwritten: a patient's key does not linger
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start: a transaction that reads first could not get it later."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _find_revision(connection: Connection) -> str | None:
    if _STEPS not in inspect(connection).get_table_names():
        return None
    found = connection.execute(text(f"SELECT version_num FROM {_STEPS}")).scalar()  # nosec B608
    return None if found is None else str(found)


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if error else "no connection"

"""The SQL database behind the directory: SQLite in the data folder, or PostgreSQL.

Two kinds of transaction, and a way for what needs none:

- `ask()`: one SELECT, which is a consistent view by itself and sees all that was committed before. For what is asked of
  everybody who comes in, and every second: a transaction costs ten times as much, most of it between threads.
- `reading()`: one consistent view for several of them.
- `writing()`: one writer at a time in the whole installation (SQLite: BEGIN IMMEDIATE; PostgreSQL: one
  transaction-scoped advisory lock). People and pairs change a few times a minute, so this costs nothing, and
  it buys what the change feed needs: PostgreSQL releases that lock after the commit is visible, so an audit id
  is only given out when every lower one can be read or never will be. A poll that has seen id n has seen all
  below it.

Errors: DatabaseError
    The database cannot be used, with one sentence for the operator.
      └── DatabaseUnavailableError   it does not answer, or is too busy; asking again later is right
"""

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from rooms.errors import Unavailable
from signaling.stores.asking_sqlite import SqliteAsker
from signaling.stores.question import Question

# The migration that this code was written for; a test compares it with the newest file.
HEAD: Final = "0002"

# How long a writer waits for another one, and a statement for its answer.
_BUSY_S: Final = 5
# Questions (`ask`) that wait at a time; more are refused.
_ASKED_MAX: Final = 1_000
# Any two numbers that other programs on the same PostgreSQL do not use.
_WRITER_LOCK: Final = 0x7E1E_3E27
_MIGRATION_LOCK: Final = 0x7E1E_3E28


class DatabaseError(Exception):
    """The database cannot be used; the text is one sentence that says why."""


class DatabaseUnavailableError(DatabaseError, Unavailable):
    """The database does not answer or is too busy: nothing was changed, or it is not known; ask again later."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_ms=1_000)
        self.message = (
            Unavailable.sentence
        )  # the operator's sentence, str(self), names hosts: not for the wire


# SQLSTATE (PostgreSQL, appendix A) of what passes by itself: connections (08), transactions to be repeated (40),
# resources (53), an operator who stops or starts the server (57), a standby that is not writable yet (25006).
_PASSING: Final = ("08", "25006", "40", "53", "57")


def _passes(error: BaseException | None) -> bool:
    return str(getattr(error, "sqlstate", None) or "").startswith(_PASSING)


class Asker(Protocol):
    """The way of a single SELECT to the database and back."""

    async def ask(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows. Raises OSError when there is no answer."""

    async def close(self) -> None:
        """When what was asked before is answered."""


class Database:
    """A pool of connections to one database, with its tables up to date. Belongs to one event loop.

    Raises DatabaseError for an address that cannot be understood or leads nowhere.
    """

    def __init__(self, url: str) -> None:
        self._url = _normalised(url)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        if self._sqlite:
            if not Path(str(self._url.database)).absolute().parent.is_dir():
                raise DatabaseError(f"The folder of the database {self._url.database} is not there.")
            self._engine = create_async_engine(
                self._url,
                hide_parameters=True,
                connect_args={"timeout": _BUSY_S},
                pool_size=4,
                max_overflow=0,
                pool_timeout=_BUSY_S,
            )
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
            self._asker: Asker = SqliteAsker(self._sqlite_reader, _BUSY_S, _ASKED_MAX)
        else:
            self._engine = create_async_engine(
                self._url,
                hide_parameters=True,
                pool_pre_ping=True,
                pool_size=4,
                max_overflow=4,
                pool_timeout=_BUSY_S,
                connect_args={"timeout": _BUSY_S, "command_timeout": _BUSY_S},
            )
            # Its driver is big, and nobody needs it with SQLite.
            from signaling.stores.asking_postgres import PostgresAsker

            self._asker = PostgresAsker(self._engine, _BUSY_S, _ASKED_MAX, _passes)

    async def open(self) -> None:
        """Brings the tables up to date; several nodes may do so at once. Raises DatabaseError."""
        with self._errors():
            async with self._engine.connect() as connection:
                if await connection.run_sync(_revision) == HEAD:
                    return
            async with self._transaction(write=True) as connection:
                if not self._sqlite:
                    await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
                await connection.run_sync(_migrate)

    async def forget(self) -> None:
        """Has SQLite rewrite its file, so that what was replaced before is in no free page and not in the write-ahead log. A
        PostgreSQL does the like by itself, in its own time (VACUUM). Raises DatabaseUnavailableError."""
        if not self._sqlite:
            return
        with self._errors():
            async with self._engine.connect() as connection:
                driver = (
                    await connection.get_raw_connection()
                ).driver_connection  # both refuse a transaction
                assert driver is not None
                for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    await driver.execute(statement)

    async def close(self) -> None:
        """Closes every connection."""
        await self._asker.close()
        await self._engine.dispose()

    async def ask(self, question: Question, **values: Any) -> list[Any]:
        """The rows of one SELECT as named tuples. Raises DatabaseUnavailableError, after 5 s at the latest."""
        wording = question.worded(self._engine.dialect, values)
        with self._errors():
            found = await self._asker.ask(wording.text, wording.values(values))
        return wording.rows(found)

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes nothing. Raises DatabaseUnavailableError."""
        with self._errors():
            async with self._transaction(write=False) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """The only writing transaction there is at that moment; committed unless an error leaves the block.

        Raises DatabaseUnavailableError, also when it had to wait for longer than 5 s.
        """
        with self._errors():
            async with self._transaction(write=True) as connection:
                if not self._sqlite:
                    await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"))
                yield connection

    @contextlib.asynccontextmanager
    async def _transaction(self, *, write: bool) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            await connection.execution_options(telementor_write=write)
            async with connection.begin():
                yield connection

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """The driver's many errors as our two; statements and their values stay out of the sentence."""
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise DatabaseUnavailableError(self._sentence(error.orig or error)) from error
        except DBAPIError as error:
            if error.connection_invalidated or _passes(error.orig):
                raise DatabaseUnavailableError(self._sentence(error.orig or error)) from error
            raise
        except (OSError, TimeoutError, sa.exc.TimeoutError) as error:
            raise DatabaseUnavailableError(self._sentence(error)) from error

    def _sqlite_reader(self) -> sqlite3.Connection:
        positional, named = self._engine.dialect.create_connect_args(self._url)
        connect: Any = sqlite3.connect
        connection: sqlite3.Connection = connect(*positional, **{**named, "timeout": _BUSY_S})
        _prepare_sqlite(connection, None)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _sentence(self, error: BaseException) -> str:
        where = (
            self._url.database
            if self._sqlite
            else f"{self._url.host or 'localhost'}:{self._url.port or 5432}"
        )
        what = " ".join(str(error).split()).rpartition(">: ")[2] or type(error).__name__
        return f"The database {where} cannot be used: {what.rstrip('.')}."


def _normalised(url: str) -> URL:
    """The URL with the driver that we use, however the operator wrote it."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseError("The address of the database cannot be understood.") from None
    backend = (
        parsed.get_backend_name().replace("postgres", "postgresql").replace("postgresqlql", "postgresql")
    )
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    if backend not in drivers:
        raise DatabaseError("The database must be SQLite (sqlite:///) or PostgreSQL (postgresql://).")
    if backend == "sqlite" and not parsed.database:
        raise DatabaseError("The SQLite database needs a file: two connections do not share one in memory.")
    return parsed.set(drivername=drivers[backend])


# ---------------------------------------------------------------------------------------------- SQLite


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Each new connection: readers beside the writer, the disk before the answer, foreign keys that count."""
    connection.isolation_level = None  # we say BEGIN ourselves, and say which
    cursor = connection.cursor()
    _write_ahead(cursor)
    for setting in ("synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Of several that open a new file at once one changes its mode, and SQLite tells the others "locked" without waiting."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("telementor_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


# -------------------------------------------------------------------------------------------- migrations


def _revision(connection: sa.Connection) -> str | None:
    """Which migration the database is at, without loading Alembic: that is for the day when there is work."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:
        found = _revision(connection)
        raise DatabaseError(
            f"The database was written by a newer telementor (it is at {found}, this one knows {HEAD});"
            " start that one, or restore the backup from before."
        ) from None

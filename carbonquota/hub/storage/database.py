"""The database: connections, transactions, and its errors as those of the quota service.

SQLite is in WAL mode: readers go on while one writes. A transaction that writes takes the lock at its begin, so that
it never fails half-way because another came first. A file that was moved away while the service runs is a database that
is away: connections that are open would go on with it, and what they are told would be acknowledged and lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from carbonquota.hub.domain.errors import ConflictError, InvalidError, UnavailableError

_TIMEOUT: Final = 5.0
"""Seconds to wait for a connection, a lock or an answer."""
_WRITES: Final = "carbonquota_writes"
_QUICK: Final = "carbonquota_quick"


class Database:
    """One database. May be used from any thread."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet; InvalidError where the URL is none of SQLite or Postgres."""
        self.place = _place_of(url)
        """Where it is, for a person: the file, and whether it is new; or the URL without its password."""
        self.engine = _make_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._file = _File(Path(self.engine.url.database or "")) if self.is_sqlite else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads one state; UnavailableError where the database cannot be used."""
        self._check_file()
        with _told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, quick: bool = False) -> Iterator[Connection]:
        """A transaction that writes, committed at its end; UnavailableError where the database cannot be used.

        A `quick` one is lost by no death of a process; the machine's loss of power may undo the last ones.
        """
        self._check_file()
        with _told(), self.engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True, _QUICK: quick})
            with connection.begin():
                yield connection

    def _check_file(self) -> None:
        """UnavailableError where a file is not there any more."""
        if self._file is not None:
            self._file.check()

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


class _File:
    """The file of a database, as it was at the first transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def check(self) -> None:
        """UnavailableError where it is gone, or another one."""
        try:
            found = self._path.stat()
        except OSError as error:
            if self._seen is None:
                # It is made now, or cannot be, which is told then.
                return
            reason = f"{self._path.absolute()}: {error.strerror}: put it back"
            raise UnavailableError(f"the database cannot be used ({reason}): nothing was changed, try again") from None
        place = found.st_dev, found.st_ino
        self._seen = self._seen or place
        if place != self._seen:
            reason = f"{self._path.absolute()} is another file than at the start: put that one back, or start anew"
            raise UnavailableError(f"the database cannot be used ({reason}): nothing was changed")


def _make_engine(url: str) -> Engine:
    """The engine with its settings."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidError(_bad_url(url)) from None
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        _make_folder(Path(parsed.database))
        arguments: dict[str, Any] = {"timeout": _TIMEOUT, "check_same_thread": False}
    elif backend == "postgresql":
        arguments = {"connect_timeout": int(_TIMEOUT), "options": f"-c statement_timeout={int(_TIMEOUT * 6000)}"}
    else:
        raise InvalidError(_bad_url(url))
    try:
        engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=backend != "sqlite", pool_size=10,
                               max_overflow=20, pool_timeout=_TIMEOUT)  # fmt: skip
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise InvalidError(f"the database at {parsed.render_as_string()} needs a package: {error}") from None
    if backend == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "begin", _begin_postgres)
    return engine


def _make_folder(file: Path) -> None:
    """Make the folder of a database file; InvalidError."""
    if file.is_dir():
        raise InvalidError(f"the database {file.absolute()} is a folder: give a file in it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidError(
            f"the folder of the database {file.absolute()} cannot be made: {error.strerror or error}: give another file"
        ) from None


def _place_of(url: str) -> str:
    """The place of a database in words; of what is no URL, the URL as it is not shown."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "none"
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return parsed.render_as_string()
    file = Path(parsed.database).absolute()
    return f"{file}" if file.exists() else f"{file}, which is new"


def _bad_url(url: str) -> str:
    """What is said of a URL; a password in it is not."""
    scheme = url.partition(":")[0]
    return f"{scheme!r} is no database: give sqlite:///path/to/file or postgresql://user:password@host/name"


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    """Settings of a new connection."""
    # Transactions are begun by us, not by the driver's guess at statements.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction: at once as a writer where it will write."""
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA synchronous = {'NORMAL' if options.get(_QUICK) else 'FULL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")


def _begin_postgres(connection: Connection) -> None:
    """Say how durable it has to be."""
    if connection.get_execution_options().get(_QUICK):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a database that is away raises into UnavailableError."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"another change came first: read it anew and try again ({error.orig})") from error
    except PoolTimeoutError as error:
        raise UnavailableError("the database is busy: nothing was changed, try again") from error
    except (OperationalError, InterfaceError, InternalError) as error:
        reason = str(error.orig).strip().split("\n")[0]
        raise UnavailableError(f"the database cannot be used ({reason}): nothing was changed, try again") from error
    except DatabaseError as error:
        # The others of its kind are bugs of ours.
        if not isinstance(error.orig, sqlite3.DatabaseError) or type(error) is not DatabaseError:
            raise
        raise UnavailableError(f"the database cannot be used ({error.orig}): is it another file?") from error

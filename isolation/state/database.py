"""
The only module that opens the database: SQLite in the state folder, through SQLAlchemy Core.

Importing it costs some hundred milliseconds: import it late.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.dialects.sqlite import pysqlite  # noqa: F401  (else the first opening pays for it)

from isolation.errors import StorageError
from isolation.state.faults import fault_of, storage_faults
from isolation.state.folders import make_private
from isolation.state.schema import VERSION, metadata, schema_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection

_BUSY_TIMEOUT_S = 30.0


class Database:
    """
    The one database of a state folder, safe to use from threads and from several processes at once.

    What was committed survives a power cut (WAL, ``synchronous=FULL``); nothing else does. Every error of the
    database's becomes a StorageError here.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self._engine = engine
        self._writer = engine.execution_options(begin="BEGIN IMMEDIATE")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the state folder's database; folder and database are made, for this user only, if they are not there."""
        path = folder / "isolation.db"
        with storage_faults(folder):
            if not path.exists():
                make_private(folder)
                _create(path)
        database = cls(path, _engine(path))
        try:
            database._check_version()
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read everything as it was at one moment, whatever others write meanwhile."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """
        Write alone: waits for the other writers first, so that what is read here stays true until the commit.

        Commits at the end of the block; an exception undoes everything.
        """
        with self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_version(self) -> None:
        with self.reading() as connection:
            found = connection.scalar(select(schema_version.c.version))
        if found != VERSION:
            raise StorageError(
                f"the state folder {self.path.parent} was written by another version of isolation"
                f" (its schema is {found}, ours is {VERSION})",
                hint="Upgrade isolation, or choose another folder with --state.",
            )


def _create(path: Path) -> None:
    """
    Make the database aside and link it into place whole.

    Nobody ever meets half a schema, and of two processes that create it at once, one wins and both use its work.
    """
    aside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        engine = _engine(aside)
        with engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(insert(schema_version).values(version=VERSION))
        engine.dispose()
        with suppress(FileExistsError):
            os.link(aside, path)
        _sync_folder(path.parent)
    finally:
        for name in (aside.name, f"{aside.name}-wal", f"{aside.name}-shm"):
            aside.with_name(name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _engine(path: Path) -> Engine:
    # isolation_level None: Python's driver must not begin transactions of its own; we do, below.
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_TIMEOUT_S, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> BaseException | None:
        return fault_of(context.original_exception, path.parent)

    return engine

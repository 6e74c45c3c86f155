"""SQLite in the state folder: what makes it durable, and alone when it writes."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects.sqlite import pysqlite  # noqa: F401  (else the first opening pays for it)

from isolation.state.faults import fault_of, storage_faults
from isolation.state.folders import make_private, sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection

_BUSY_TIMEOUT_S = 30.0
BEGINS = ("BEGIN", "BEGIN IMMEDIATE")
"""How a reader begins, and how a writer, who waits there for the writers before."""


def connect(path: Path, create: Callable[[Connection], None]) -> Engine:
    """Open the database of a state folder; folder and database are made, for this user only, if they are not there."""
    with storage_faults(path.parent):
        if not path.exists():
            make_private(path.parent)
            _make(path, create)
    return _engine(path)


def _make(path: Path, create: Callable[[Connection], None]) -> None:
    """
    Make the database aside and link it into place whole.

    Nobody ever meets half a schema, and of two processes that create it at once, one wins and both use its work.
    """
    aside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        engine = _engine(aside)
        with engine.begin() as connection:
            create(connection)
        # Only now: what a log holds is put into the file when it is closed, which says nothing when that fails.
        with engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
        engine.dispose()
        with suppress(FileExistsError):
            os.link(aside, path)
        sync(path.parent)
    finally:
        for name in (aside.name, f"{aside.name}-wal", f"{aside.name}-shm"):
            aside.with_name(name).unlink(missing_ok=True)


def _engine(path: Path) -> Engine:
    # isolation_level None: Python's driver must not begin transactions of its own; we do, below.
    engine = create_engine(
        f"sqlite:///{path}",
        max_overflow=-1,  # as many connections as threads want
        connect_args={"timeout": _BUSY_TIMEOUT_S, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql(BEGINS[bool(writes)])

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> BaseException | None:
        return fault_of(context.original_exception, path.parent)

    return engine

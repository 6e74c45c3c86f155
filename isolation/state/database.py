"""
The only module that opens the database, through SQLAlchemy Core: SQLite in the state folder, or PostgreSQL by URL.

Importing it costs some hundred milliseconds: import it late.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, Engine, insert, inspect, select

from isolation.errors import StorageError
from isolation.state.schema import REVISION, alembic_version, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType


class Database:
    """
    One database, safe to use from threads and from several processes at once; ``place`` names it for people.

    What was committed survives a power cut; nothing else does. Every error of the database's becomes a StorageError
    here.
    """

    def __init__(self, place: str, engine: Engine) -> None:
        self.place = place
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    @classmethod
    def open(cls, folder: Path, url: str | None = None) -> Self:
        """
        Open the database at a URL, or else that of a state folder; it is made if it is not there.

        One of an earlier release is brought up to this one, in one transaction. StorageError for one of a later.
        """
        if url is None:
            from isolation.state.sqlite import connect  # noqa: PLC0415 - one of both is enough

            database = cls(f"the state folder {folder}", connect(folder / "isolation.db", _create))
        else:
            from isolation.state import postgresql  # noqa: PLC0415 - as above

            engine = postgresql.connect(url)
            database = cls(f"the database {postgresql.shown(url)}", engine)
        try:
            database._bring_up_to_date()
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

    def _bring_up_to_date(self) -> None:
        with self.reading() as connection:
            found = _revision(connection)
        if found == REVISION:
            return
        with self.writing() as connection:
            found = _revision(connection)  # somebody else may have been faster
            if found is None:
                _create(connection)
            elif found < REVISION:
                from isolation.state.migrations.upgrade import upgrade  # noqa: PLC0415 - rarely needed, and slow

                upgrade(connection, found)
            elif found > REVISION:
                raise StorageError(
                    f"{self.place} was written by a later version of isolation"
                    f" (its schema is {found}, ours is {REVISION})",
                    hint="Upgrade isolation, or choose another folder with --state.",
                )


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(insert(alembic_version).values(version_num=REVISION))


def _revision(connection: Connection) -> str | None:
    """Return the revision of the schema; None for an empty database."""
    found = inspect(connection)
    if found.has_table("alembic_version"):
        return connection.scalar(select(alembic_version.c.version_num))
    # The first release counted for itself.
    return "0001" if found.has_table("schema_version") else None

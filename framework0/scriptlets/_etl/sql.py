"""
Databases by URL: SQLite by the standard library, PostgreSQL by a driver that the recipe requires.

    sqlite:///shop.db, data/shop.db     a file; three slashes and a path from here, four and one from the root
    postgres://user@host/database       psycopg (3) or psycopg2, whichever the recipe's requirements bring
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from scriptlets._etl.rows import RowError, dumps, fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.context import Context

_POSTGRESQL = {"postgres", "postgresql"}
_AT_ONCE = 500
_KINDS = {bool: "boolean", int: "bigint", float: "double precision"}


class DatabaseError(RuntimeError):
    """A database refused, or cannot be reached; the text has its own words."""


def is_postgresql(url: str) -> bool:
    """Tell which of the two kinds a URL names. Raises ValueError for any other."""
    scheme = urlsplit(url).scheme
    if scheme not in {*_POSTGRESQL, "sqlite", ""}:
        raise ValueError(f"no database is known by {scheme}://: postgres://host/database or sqlite:///file")
    return scheme in _POSTGRESQL


def sqlite_path(url: str) -> str:
    """Return the path that a URL of SQLite names, or the text itself if it is none."""
    return url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else url


@contextmanager
def reading(url: str, context: Context, options: Mapping[str, Any]) -> Iterator[Any]:
    """Open a database for reading only; what would change it is refused by the database. Raises DatabaseError."""
    if is_postgresql(url):
        with _postgresql(url, context, options) as connection:
            if hasattr(connection, "set_session"):
                connection.set_session(readonly=True)
            else:
                connection.read_only = True
            yield connection
        return
    path = sqlite_path(url)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file: name one of the recipe's folder, and list it under files")
    # A file that nobody can change has no journal, and could have none: its folder is read-only.
    how = "mode=ro" if os.access(path, os.W_OK) else "immutable=1"
    with _sqlite(f"file:{quote(os.path.abspath(path))}?{how}") as connection:
        yield connection


@contextmanager
def writing(url: str, path: str, context: Context, options: Mapping[str, Any]) -> Iterator[Any]:
    """Open a database for one transaction: kept if the block ends, else undone. Raises DatabaseError."""
    if is_postgresql(url):
        with _postgresql(url, context, options) as connection:
            yield connection
            connection.commit()
        return
    with _sqlite(f"file:{quote(path)}?mode=rwc") as connection:
        connection.execute("BEGIN")
        yield connection
        connection.commit()


def select(connection: Any, query: str, bound: Sequence | Mapping, *, named: bool) -> Iterator[dict]:  # noqa: ANN401
    """
    Yield the rows of a query as JSON values, a few hundred at a time.

    ``named`` cursors stay at the server. Dates and times become ISO 8601 texts, decimals numbers if nothing is lost.
    """
    with closing(connection.cursor(name="rows") if named else connection.cursor()) as cursor:
        cursor.execute(query, *([bound] if bound else []))  # without any, a percent sign is one
        number = 0
        while rows := cursor.fetchmany(_AT_ONCE):
            columns = [column[0] for column in cursor.description]
            if len({*columns}) != len(columns):
                raise RowError(f"two columns of the query have one name: {', '.join(columns)}; give one another, by as")
            for values in rows:
                number += 1
                yield {name: _json(value, name, number) for name, value in zip(columns, values, strict=True)}


class Table:
    """A table that rows are inserted into, within a transaction of somebody else's."""

    def __init__(self, connection: Any, name: str, *, sqlite: bool) -> None:  # noqa: ANN401 - of any driver
        self._cursor = connection.cursor()
        self._name = name
        self._sqlite = sqlite
        self._columns: list[str] = []

    def empty(self) -> None:
        """Delete all rows that are there."""
        if not self._sqlite or self._is_there():
            self._cursor.execute(f"DELETE FROM {quoted(self._name)}")  # noqa: S608 - a quoted name

    def insert(self, rows: Iterable[dict], columns: list[str] | None) -> int:
        """
        Insert rows, a few hundred at a time; returns how many.

        The columns are those of the first row, if none are given; a field that a row lacks is null, one that is no
        column raises RowError. A table that SQLite lacks is made. Raises DatabaseError with the rows that it is about.
        """
        batch: list[list[Any]] = []
        count = 0
        for count, row in enumerate(rows, 1):
            if count == 1:
                self._begin(columns or list(row), row)
            for field in row:
                if field not in self._columns:
                    raise fault(count, "there is no such column: name all of them as columns", field)
            batch.append([self._value(row.get(field)) for field in self._columns])
            if len(batch) == _AT_ONCE:
                self._insert(batch, count)
                batch = []
        if batch:
            self._insert(batch, count)
        return count

    def _begin(self, columns: list[str], row: dict) -> None:
        self._columns = columns
        if self._sqlite:
            declared = ", ".join(f"{quoted(name)} {_KINDS.get(type(row.get(name)), 'text')}" for name in columns)
            self._cursor.execute(f"CREATE TABLE IF NOT EXISTS {quoted(self._name)} ({declared})")

    def _insert(self, batch: list[list[Any]], last: int) -> None:
        names = ", ".join(map(quoted, self._columns))
        marks = ", ".join(["?" if self._sqlite else "%s"] * len(self._columns))
        query = f"INSERT INTO {quoted(self._name)} ({names}) VALUES ({marks})"  # noqa: S608 - quoted names
        try:
            self._cursor.executemany(query, batch)
        except Exception as error:
            raise DatabaseError(f"rows {last - len(batch) + 1} to {last}: {_words(error)}") from error

    def _value(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, list | dict):
            return dumps(value)
        return int(value) if isinstance(value, bool) and self._sqlite else value

    def _is_there(self) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return bool(self._cursor.execute(query, [self._name]).fetchall())


@contextmanager
def _sqlite(uri: str) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise DatabaseError(f"SQLite: {error}") from error


@contextmanager
def _postgresql(url: str, context: Context, options: Mapping[str, Any]) -> Iterator[Any]:
    driver = _driver()
    more = {"password": context.secret(options["password_secret"])} if "password_secret" in options else {}
    try:
        with closing(driver.connect(url, connect_timeout=options["timeout_s"], **more)) as connection:
            yield connection
    except driver.Error as error:
        raise DatabaseError(f"PostgreSQL: {_words(error)}") from error


def _driver() -> Any:  # noqa: ANN401 - either of two modules
    for name in ("psycopg", "psycopg2"):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise DatabaseError(
        "there is no driver for PostgreSQL: add requirements: ['psycopg[binary]>=3.2'] to the recipe's metadata"
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def quoted(name: str) -> str:
    """Quote a name, and each part of one with dots: ``"sales"."orders"``."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def _json(value: Any, field: str, number: int) -> Any:  # noqa: ANN401 - whatever a database has
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        made = int(value) if value == value.to_integral_value() else float(value)
        if Decimal(repr(made)) == value:
            return made
        raise fault(number, f"{value} has more digits than a number keeps: cast it to text in the query", field)
    raise fault(number, f"JSON cannot say a {type(value).__name__}: cast it to text in the query", field)

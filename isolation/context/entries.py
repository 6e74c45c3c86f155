"""The only module that reads and writes the context's two tables; always inside somebody's transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, insert, or_, select, text

from isolation.model.changes import Entry, HistoryFilter
from isolation.model.package import canonical
from isolation.rules.scope import is_literal, literal_prefix, matches
from isolation.state.schema import context_current, context_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Row

    from isolation.rules.merge import Write

_columns = context_entries.c
_newest = select(context_entries).join(context_current, context_current.c.version == _columns.version)
_KEYS_A_QUERY = 500
_ROWS_A_FETCH = 500
_AFTER_ANY_CHARACTER = "\U0010ffff"
_POINT_TO = text(
    "INSERT INTO context_current (key, version) VALUES (:key, :version)"
    " ON CONFLICT (key) DO UPDATE SET version = excluded.version"
)


def newest_version(connection: Connection) -> int:
    """Return the store's version, which is that of its newest entry; 0 before the first."""
    return connection.scalar(select(func.max(_columns.version))) or 0


def current(connection: Connection, keys: Sequence[str]) -> dict[str, Entry]:
    """Return the newest entries of these keys, deletions included; the cost does not grow with the store."""
    found: dict[str, Entry] = {}
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        rows = connection.execute(_newest.where(context_current.c.key.in_(some)))
        found |= {row.key: _entry(row) for row in rows}
    return found


def at_version(connection: Connection, keys: Sequence[str], version: int) -> dict[str, Entry]:
    """Return what these keys held when the store had this version; the cost does not grow with the store."""
    found: dict[str, Entry] = {}
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        found |= {entry.key: entry for entry in _then(connection, _columns.key.in_(some), version)}
    return found


def current_matching(connection: Connection, globs: Iterable[str]) -> Iterator[Entry]:
    """Return what the store holds now under any of the globs, sorted by key, without what was deleted."""
    globs = tuple(globs)
    if not globs:
        return
    nearby = _near(context_current.c.key, globs)
    rows = connection.execute(_newest.where(nearby, ~_columns.deleted).order_by(context_current.c.key))
    yield from (_entry(row) for row in rows if matches(row.key, globs))


def matching_at_version(connection: Connection, glob: str, version: int) -> Iterator[Entry]:
    """Return what the store held under the glob when it had this version, sorted by key; reads their whole history."""
    entries = _then(connection, _near(_columns.key, (glob,)), version)
    yield from (entry for entry in entries if matches(entry.key, (glob,)))


def past(connection: Connection, glob: str, limit: int, filters: HistoryFilter) -> Iterator[Entry]:
    """Return at most ``limit`` entries under the glob that pass the filters, newest first; reads no further."""
    query = select(context_entries).where(_near(_columns.key, (glob,)), *_conditions(filters))
    rows = connection.execute(
        query.order_by(_columns.version.desc()).execution_options(yield_per=min(limit, _ROWS_A_FETCH))
    )
    for row in rows:
        if limit <= 0:
            break
        if matches(row.key, (glob,)):
            yield _entry(row)
            limit -= 1
    rows.close()


def append(connection: Connection, writes: Sequence[Write], *, who: str, run_id: str | None, at: str) -> int:
    """
    Add an entry for every write, in order, and return the store's version after them.

    Keys and values were checked. ``who`` is for the writes that do not say themselves. The transaction must be a
    writer's from its beginning, since the versions are counted here.
    """
    before = newest_version(connection)
    if not writes:
        return before
    rows = [
        {
            "version": version,
            "key": write.key,
            "value": None if write.deleted else canonical(write.value).decode(),
            "deleted": write.deleted,
            "who": write.who or who,
            "run_id": run_id,
            "at": at,
        }
        for version, write in enumerate(writes, start=before + 1)
    ]
    connection.execute(insert(context_entries), rows)
    connection.execute(_POINT_TO, [{"key": row["key"], "version": row["version"]} for row in rows])
    return before + len(writes)


def _then(connection: Connection, which: ColumnElement[bool], version: int) -> Iterator[Entry]:
    newest = select(func.max(_columns.version)).where(which, _columns.version <= version).group_by(_columns.key)
    query = select(context_entries).where(_columns.version.in_(newest), ~_columns.deleted).order_by(_columns.key)
    yield from (_entry(row) for row in connection.execute(query))


def _conditions(filters: HistoryFilter) -> Iterator[ColumnElement[bool]]:
    if filters.who is not None:
        yield _columns.who == filters.who
    if filters.run_id is not None:
        yield _columns.run_id == filters.run_id
    if filters.since is not None:
        yield _columns["at"] >= filters.since
    if filters.until is not None:
        yield _columns["at"] < filters.until
    if filters.before is not None:
        yield _columns.version < filters.before


def _near(column: ColumnElement[str], globs: tuple[str, ...]) -> ColumnElement[bool]:
    """Let the database's index leave out most of what the globs cannot cover; ``matches`` decides the rest."""
    return or_(*(_range(column, glob) for glob in globs))


def _range(column: ColumnElement[str], glob: str) -> ColumnElement[bool]:
    if is_literal(glob):
        return column == glob
    prefix = literal_prefix(glob)
    return (column >= prefix) & (column < prefix + _AFTER_ANY_CHARACTER)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        version=row.version,
        key=row.key,
        value=None if row.value is None else json.loads(row.value),
        deleted=row.deleted,
        who=row.who,
        run_id=row.run_id,
        at=row.at,
    )

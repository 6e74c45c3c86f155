"""The only module that reads and writes the context's two tables; in one namespace, and in somebody's transaction."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, insert, or_, select, text, true

from isolation.model.changes import Entry, HistoryFilter
from isolation.model.package import canonical, digest_of
from isolation.rules.scope import is_literal, literal_prefix, matches
from isolation.state.schema import context_current, context_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Row, Select

    from isolation.rules.merge import Write

_columns = context_entries.c
_pointed_at = and_(
    context_current.c.namespace == _columns.namespace,
    context_current.c.version == _columns.version,
)
_KEYS_A_QUERY = 500
_ROWS_A_FETCH = 500
_AFTER_ANY_CHARACTER = "\U0010ffff"
# Made once: SQLAlchemy takes longer to make a statement than the database to carry it out.
_VERSION = select(func.max(_columns.version)).where(_columns.namespace == bindparam("here"))
_OF_KEYS = (
    select(context_entries)
    .join(context_current, _pointed_at)
    .where(
        context_current.c.namespace == bindparam("here"), context_current.c.key.in_(bindparam("keys", expanding=True))
    )
)
_SINCE = select(_columns.key, func.length(_columns.value).label("size")).where(
    _columns.namespace == bindparam("here"), _columns.version > bindparam("version")
)
_AT = select(context_entries).where(_columns.namespace == bindparam("here"), _columns.version == bindparam("version"))
_ALL = select(context_entries).where(_columns.namespace == bindparam("here")).order_by(_columns.version)
_HELD = (
    select(context_entries)
    .join(context_current, _pointed_at)
    .where(context_current.c.namespace == bindparam("here"), ~_columns.deleted)
    .order_by(context_current.c.key)
)
_AFTER = (
    select(context_entries)
    .where(_columns.namespace == bindparam("here"), _columns.version > bindparam("version"))
    .order_by(_columns.version)
    .limit(bindparam("limit"))
)
_earlier = context_entries.alias().c
_newest_then = (
    select(func.max(_earlier.version))
    .where(
        _earlier.namespace == bindparam("here"),
        _earlier.key == context_current.c.key,
        _earlier.version <= bindparam("version"),
    )
    .correlate(context_current)
    .scalar_subquery()
)
# Looks each key up by itself, of those that there ever were: grouped, their whole history would be read.
_THEN = (
    select(context_entries)
    .join_from(
        context_current,
        context_entries,
        and_(_columns.namespace == bindparam("here"), _columns.version == _newest_then),
    )
    .where(context_current.c.namespace == bindparam("here"), ~_columns.deleted)
    .order_by(context_current.c.key)
)
_THEN_OF_KEYS = _THEN.where(context_current.c.key.in_(bindparam("keys", expanding=True)))
_ADD = insert(context_entries)
_POINT_TO = text(
    "INSERT INTO context_current (namespace, key, version) VALUES (:namespace, :key, :version)"
    " ON CONFLICT (namespace, key) DO UPDATE SET version = excluded.version"
)


class Space(NamedTuple):
    """A namespace as a transaction sees it."""

    connection: Connection
    namespace: str


def newest_version(space: Space) -> int:
    """Return the store's version, which is that of its newest entry; 0 before the first."""
    return space.connection.scalar(_VERSION, {"here": space.namespace}) or 0


def current(space: Space, keys: Sequence[str]) -> dict[str, Entry]:
    """Return the newest entries of these keys, deletions included; the cost does not grow with the store."""
    found: dict[str, Entry] = {}
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        rows = space.connection.execute(_OF_KEYS, {"here": space.namespace, "keys": some})
        found |= {row.key: _entry(row) for row in rows}
    return found


def changed_since(space: Space, version: int) -> dict[str, int]:
    """
    Return the keys that were written since the store had this version; the cost grows with these writes alone.

    With each, how many characters its values have as JSON, all of them together.
    """
    written: dict[str, int] = {}
    for row in space.connection.execute(_SINCE, {"here": space.namespace, "version": version}):
        written[row.key] = written.get(row.key, 0) + (row.size or 0)
    return written


def anchor(space: Space, version: int) -> str:
    """Name the history that led to a version, by its entry of that version; empty where there is none."""
    row = space.connection.execute(_AT, {"here": space.namespace, "version": version}).first()
    return "" if row is None else digest_of(canonical([*row]))


def size_near(space: Space, globs: Iterable[str]) -> int:
    """Return how many characters of keys and JSON must be read for what the store holds now under the globs."""
    size = func.coalesce(func.sum(func.length(_columns.value) + func.length(_columns.key)), 0)
    query = select(size).join_from(context_entries, context_current, _pointed_at)
    nearby = _near(context_current.c.key, tuple(globs))
    return int(space.connection.scalar(query.where(context_current.c.namespace == space.namespace, nearby)) or 0)


def texts(space: Space, globs: Iterable[str], version: int | None = None) -> Iterator[tuple[str, bytes]]:
    """
    Return what the store held near the globs at a version, or holds now, as JSON, sorted by key.

    Near: what its index finds; whether a glob covers a key is not looked at.
    """
    globs = tuple(globs)
    if not globs:
        return
    query, when = (_newest_near(globs), {"after": ""}) if version is None else (_then_near(globs), {"version": version})
    query = query.with_only_columns(_columns.key, _columns.value, maintain_column_froms=True)
    found = {"here": space.namespace, **when}
    for row in space.connection.execute(query, found, execution_options={"yield_per": _ROWS_A_FETCH}):
        yield row.key, row.value.encode()


def at_version(space: Space, keys: Sequence[str], version: int) -> dict[str, Entry]:
    """Return what these keys held when the store had this version; the cost does not grow with the store."""
    found: dict[str, Entry] = {}
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        rows = space.connection.execute(_THEN_OF_KEYS, {"here": space.namespace, "keys": some, "version": version})
        found |= {row.key: _entry(row) for row in rows}
    return found


def current_matching(space: Space, globs: Iterable[str], after: str = "") -> Iterator[Entry]:
    """
    Return what the store holds now under any of the globs, sorted by key, without what was deleted.

    Begins after a key; reads little further than it is iterated over.
    """
    globs = tuple(globs)
    if not globs:
        return
    found = {"here": space.namespace, "after": after}
    rows = space.connection.execute(_newest_near(globs), found, execution_options={"yield_per": _ROWS_A_FETCH})
    yield from (_entry(row) for row in rows if matches(row.key, globs))


def held(space: Space) -> Iterator[Entry]:
    """Return all that the store holds now, sorted by key; read piece by piece, however much it is."""
    rows = space.connection.execute(_HELD, {"here": space.namespace}, execution_options={"yield_per": _ROWS_A_FETCH})
    yield from (_entry(row) for row in rows)


def written(space: Space) -> Iterator[Entry]:
    """Return the whole history, the oldest first; read piece by piece, as above."""
    rows = space.connection.execute(_ALL, {"here": space.namespace}, execution_options={"yield_per": _ROWS_A_FETCH})
    yield from (_entry(row) for row in rows)


def after(space: Space, version: int, limit: int) -> list[Entry]:
    """Return at most ``limit`` of the entries after a version, the oldest first."""
    rows = space.connection.execute(_AFTER, {"here": space.namespace, "version": version, "limit": limit})
    return [_entry(row) for row in rows]


def matching_at_version(space: Space, glob: str, version: int) -> Iterator[Entry]:
    """Return what the store held under the glob when it had this version, sorted by key; a look-up for each key."""
    rows = space.connection.execute(_then_near((glob,)), {"here": space.namespace, "version": version})
    yield from (_entry(row) for row in rows if matches(row.key, (glob,)))


def past(space: Space, glob: str, limit: int, filters: HistoryFilter) -> Iterator[Entry]:
    """Return at most ``limit`` entries under the glob that pass the filters, newest first; reads no further."""
    query = select(context_entries).where(_in(space), _near(_columns.key, (glob,)), *_conditions(filters))
    rows = space.connection.execute(
        query.order_by(_columns.version.desc()).execution_options(yield_per=min(limit, _ROWS_A_FETCH))
    )
    for row in rows:
        if limit <= 0:
            break
        if matches(row.key, (glob,)):
            yield _entry(row)
            limit -= 1
    rows.close()


def append(space: Space, writes: Sequence[Write], *, who: str, run_id: str | None, at: str) -> int:
    """
    Add an entry for every write, in order, and return the store's version after them.

    Keys and values were checked. ``who`` is for the writes that do not say themselves. The transaction must be a
    writer's from its beginning, since the versions are counted here.
    """
    before = newest_version(space)
    new = [
        Entry(
            version=version,
            key=write.key,
            value=None if write.deleted else write.value,
            deleted=write.deleted,
            who=write.who or who,
            run_id=run_id,
            at=at,
        )
        for version, write in enumerate(writes, start=before + 1)
    ]
    add(space, new)
    return before + len(new)


def add(space: Space, new: Sequence[Entry]) -> None:
    """Add entries, whose versions follow on the newest; the last of a key is what it holds."""
    if not new:
        return
    rows = [
        {
            "namespace": space.namespace,
            "version": entry.version,
            "key": entry.key,
            "value": None if entry.deleted else canonical(entry.value).decode(),
            "deleted": entry.deleted,
            "who": entry.who,
            "run_id": entry.run_id,
            "at": entry.at,
        }
        for entry in new
    ]
    space.connection.execute(_ADD, rows)
    newest = {entry.key: entry.version for entry in new}
    pointers = [{"namespace": space.namespace, "key": key, "version": version} for key, version in newest.items()]
    space.connection.execute(_POINT_TO, pointers)


def _in(space: Space) -> ColumnElement[bool]:
    return _columns.namespace == space.namespace


@lru_cache
def _then_near(globs: tuple[str, ...]) -> Select[Any]:
    return _THEN.where(_near(context_current.c.key, globs))


@lru_cache  # as above, a statement takes long to make; and every run of a recipe asks for the same globs
def _newest_near(globs: tuple[str, ...]) -> Select[Any]:
    pointed_at = select(context_entries).join(context_current, _pointed_at)
    here = context_current.c.namespace == bindparam("here")
    later = context_current.c.key > bindparam("after")
    return pointed_at.where(here, later, _near(context_current.c.key, globs), ~_columns.deleted).order_by(
        context_current.c.key
    )


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
    if not prefix:
        return true()  # a range of all would have SQLite read them by key, and sort, who asks for the newest ten
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

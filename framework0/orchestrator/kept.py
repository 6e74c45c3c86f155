"""A context that outlives its program: in a state folder, or in a database by URL; on the host alone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from isolation.clock import SystemClock, timestamp
from isolation.errors import InputError
from isolation.model.changes import Changes, HistoryFilter
from isolation.settings import load_settings
from isolation.wiring import open_stores
from orchestrator.context import Context, taken_over

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.model.changes import Entry
    from isolation.model.run import Result
    from isolation.stores import Stores

_DATABASES = ("postgresql://", "postgres://")
_PAGE = 1000


class KeptContext:
    """
    The context of one namespace, as ``isolation context`` has it, with the methods of ``orchestrator.context.Context``.

    Every write is there after a power cut. Any number of programs may use it at once; ``close`` it, or use ``with``.
    """

    def __init__(self, where: Path | str, *, namespace: str | None = None, who: str = "unknown") -> None:
        """``where`` is a state folder, or the URL of a PostgreSQL; then the rest is in the usual state folder."""
        text = str(where)
        if "://" in text and not text.startswith(_DATABASES):
            raise InputError(
                f"{text!r} is no place for a context", hint="Name a state folder, or the URL of a PostgreSQL."
            )
        in_database = text.startswith(_DATABASES)
        self.settings = load_settings(
            state=None if in_database else where, database=text if in_database else None, namespace=namespace
        )
        self._stores: Stores = open_stores(self.settings)
        self._who = who

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return the value of a key, or ``default`` where there is none."""
        entry = self._stores.contexts.get(key)
        return default if entry is None else entry.value

    def set(self, key: str, value: JsonValue, who: str | None = None) -> None:
        """Set a key to a JSON value. ContextError for what the context cannot keep."""
        self._stores.contexts.set(key, value, who or self._who, _now())

    def delete(self, key: str, who: str | None = None) -> bool:
        """Delete a key; tells whether it was there."""
        contexts = self._stores.contexts
        entry = contexts.get(key)
        if entry is None:
            return False
        contexts.change(Changes(deleted=(key,)), who or self._who, _now(), expected={key: entry.version})
        return True

    def keys(self) -> list[str]:
        """Return all keys, sorted."""
        return [entry.key for entry in self._stores.contexts.list()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._stores.contexts.get(key) is not None

    def to_dict(self) -> dict[str, JsonValue]:
        """Return everything, as it was at one moment."""
        return {entry.key: entry.value for entry in self._stores.contexts.list()}

    list_all = to_dict

    def get_history(self, key: str | None = None, who: str | None = None) -> list[dict[str, JsonValue]]:
        """Return all writes, or those of a key or a writer, oldest first: key, before, after, who, timestamp (s)."""
        found: list[Entry] = []
        filters = HistoryFilter(who=who)
        while True:
            page = self._stores.contexts.history(_exactly(key), _PAGE, filters)
            found += page
            if len(page) < _PAGE:
                break
            filters = HistoryFilter(who=who, before=page[-1].version)
        found.reverse()
        before = self._stores.contexts.before(found)
        return [_told(entry, earlier) for entry, earlier in zip(found, before, strict=True)]

    def merge_from(self, other: Context | KeptContext, conflict_strategy: str = "last_wins", prefix: str = "") -> None:
        """Take over another context's values, in one transaction; the rest is as for ``Context.merge_from``."""
        wanted = {prefix + name: value for name, value in other.to_dict().items()}
        taken = taken_over(wanted, self.to_dict(), conflict_strategy)
        if taken:
            self._stores.contexts.change(Changes(set=taken), self._who, _now())

    def new_at(self, version: int, result: Result) -> tuple[str, ...]:
        """Return the keys that a run's merge, which made ``version``, set and that held nothing before it."""
        contexts = self._stores.contexts
        written = contexts.history(
            "*", len(result.changes.keys()), HistoryFilter(run_id=result.run_id, before=version + 1)
        )
        before = contexts.before(written)
        return tuple(
            sorted(
                entry.key
                for entry, earlier in zip(written, before, strict=True)
                if not entry.deleted and (earlier is None or earlier.deleted)
            )
        )

    def close(self) -> None:
        """Let go of the store."""
        self._stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _exactly(key: str | None) -> str:
    """Return the glob that matches a key alone, or every key."""
    return "*" if key is None else "".join(f"[{sign}]" if sign in "*?[" else sign for sign in key)


def _told(entry: Entry, earlier: Entry | None) -> dict[str, JsonValue]:
    before = None if earlier is None or earlier.deleted else earlier.value
    told: dict[str, JsonValue] = {
        "key": entry.key,
        "before": before,
        "after": entry.value,
        "who": entry.who,
        "timestamp": datetime.fromisoformat(entry.at).timestamp(),
    }
    return told | {"deleted": True} if entry.deleted else told


def _now() -> str:
    return timestamp(SystemClock().now())

"""Where a context that outlives its program is kept: in stores that this process opens, or by a server that it asks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from isolation.clock import SystemClock, timestamp
from isolation.errors import SettingsError
from isolation.model.changes import Changes, HistoryFilter
from isolation.rules.scope import exactly
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from isolation.client.context import ContextClient
    from isolation.model.changes import Entry
    from isolation.settings import Settings

_PAGE = 1000


class Keeping(Protocol):
    """A context that is kept somewhere; what is written is durable when its method returns."""

    def get(self, key: str) -> Entry | None:
        """Return what a key holds; None if nothing."""

    def all(self) -> Sequence[Entry]:
        """Return what all keys hold, as it was at one moment, sorted by key."""

    def change(self, changes: Changes, who: str | None) -> None:
        """Write and delete in one transaction."""

    def delete(self, key: str, who: str | None) -> bool:
        """Delete a key; tells whether it was there."""

    def history(self, key: str | None, who: str | None) -> list[dict[str, JsonValue]]:
        """Return the writes, oldest first: key, before, after, who, timestamp (s)."""

    def close(self) -> None:
        """Let go of it."""


class InStores:
    """In a state folder, or in a database."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stores = open_stores(settings)
        self.contexts = self._stores.contexts

    def get(self, key: str) -> Entry | None:
        """Return what a key holds; None if nothing."""
        return self.contexts.get(key)

    def all(self) -> Sequence[Entry]:
        """Return what all keys hold."""
        return self.contexts.list()

    def change(self, changes: Changes, who: str | None) -> None:
        """Write and delete in one transaction."""
        self.contexts.change(changes, who or "unknown", _now())

    def delete(self, key: str, who: str | None) -> bool:
        """Delete a key; tells whether it was there."""
        entry = self.contexts.get(key)
        if entry is None:
            return False
        self.contexts.change(Changes(deleted=(key,)), who or "unknown", _now(), expected={key: entry.version})
        return True

    def history(self, key: str | None, who: str | None) -> list[dict[str, JsonValue]]:
        """Return the writes, oldest first."""
        found: list[Entry] = []
        glob = "*" if key is None else exactly(key)
        filters = HistoryFilter(who=who)
        while True:
            page = self.contexts.history(glob, _PAGE, filters)
            found += page
            if len(page) < _PAGE:
                break
            filters = HistoryFilter(who=who, before=page[-1].version)
        found.reverse()
        before = self.contexts.before(found)
        return [_told(entry, earlier) for entry, earlier in zip(found, before, strict=True)]

    def close(self) -> None:
        """Close the stores."""
        self._stores.close()


class AtServer:
    """By a server, at its URL; who says no name writes with the token's."""

    def __init__(self, url: str, namespace: str | None, token: str | None) -> None:
        self.url = url
        self.client: ContextClient = _client(url, namespace, token)

    def get(self, key: str) -> Entry | None:
        """Return what a key holds; None if nothing."""
        return self.client.entry(key)

    def all(self) -> Sequence[Entry]:
        """Return what all keys hold."""
        return self.client.entries()

    def change(self, changes: Changes, who: str | None) -> None:
        """Write and delete in one transaction."""
        self.client.change(set=changes.set, delete=changes.deleted, who=who)

    def delete(self, key: str, who: str | None) -> bool:
        """Delete a key; tells whether it was there."""
        return self.client.delete(key, who)

    def history(self, key: str | None, who: str | None) -> list[dict[str, JsonValue]]:
        """Return the writes, oldest first."""
        return self.client.get_history(key, who)

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()


def _client(url: str, namespace: str | None, token: str | None) -> ContextClient:
    try:
        from isolation.client.context import ContextClient  # slow to import, and installed only for who asks servers
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"a context by URL needs {error.name}, which is not installed", hint="Install recipe-isolation[client]."
        ) from error
    return ContextClient(url=url, namespace=namespace, token=token)


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

"""A context that outlives its program: in a state folder, in a database by URL, or at a server; on the host alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from isolation.errors import InputError
from isolation.model.changes import Changes
from isolation.settings import load_settings
from orchestrator.context import Context, taken_over
from orchestrator.keeping import AtServer, InStores

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

_DATABASES = ("postgresql://", "postgres://")
_SERVERS = ("http://", "https://")


class KeptContext:
    """
    The context of one namespace, as ``isolation context`` has it, with the methods of ``orchestrator.context.Context``.

    Every write is there after a power cut. Any number of programs may use it at once; ``close`` it, or use ``with``.
    """

    def __init__(
        self,
        where: Path | str | None = None,
        *,
        namespace: str | None = None,
        who: str | None = None,
        token: str | None = None,
    ) -> None:
        """
        Open it: ``where`` is a state folder, or the URL of a PostgreSQL or of a server.

        Without one it is at the server of the variable ISOLATION_URL, else in the usual state folder. Beside a
        PostgreSQL, the rest is in the usual state folder. A server is asked with ``token``, else with that of the
        variable ISOLATION_TOKEN; ``namespace`` is then by default the token's. ``who`` writes where nobody else is
        named.
        """
        self._who = who
        self.keeping = _keeping(os.environ.get("ISOLATION_URL") if where is None else where, namespace, token)

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return the value of a key, or ``default`` where there is none."""
        entry = self.keeping.get(key)
        return default if entry is None else entry.value

    def set(self, key: str, value: JsonValue, who: str | None = None) -> None:
        """Set a key to a JSON value. ContextError for what the context cannot keep."""
        self.keeping.change(Changes(set={key: value}), who or self._who)

    def delete(self, key: str, who: str | None = None) -> bool:
        """Delete a key; tells whether it was there."""
        return self.keeping.delete(key, who or self._who)

    def keys(self) -> list[str]:
        """Return all keys, sorted."""
        return [entry.key for entry in self.keeping.all()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.keeping.get(key) is not None

    def to_dict(self) -> dict[str, JsonValue]:
        """Return everything, as it was at one moment."""
        return {entry.key: entry.value for entry in self.keeping.all()}

    list_all = to_dict

    def get_history(self, key: str | None = None, who: str | None = None) -> list[dict[str, JsonValue]]:
        """Return all writes, or those of a key or a writer, oldest first: key, before, after, who, timestamp (s)."""
        return self.keeping.history(key, who)

    def merge_from(self, other: Context | KeptContext, conflict_strategy: str = "last_wins", prefix: str = "") -> None:
        """Take over another context's values, in one transaction; the rest is as for ``Context.merge_from``."""
        wanted = {prefix + name: value for name, value in other.to_dict().items()}
        taken = taken_over(wanted, self.to_dict(), conflict_strategy)
        if taken:
            self.keeping.change(Changes(set=taken), self._who)

    def close(self) -> None:
        """Let go of where it is kept."""
        self.keeping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _keeping(where: Path | str | None, namespace: str | None, token: str | None) -> InStores | AtServer:
    text = str(where or "")
    if text.startswith(_SERVERS):
        return AtServer(text, namespace, token)
    if token is not None:
        raise InputError("only a server wants a token", hint="Leave it out, or name the server by http:// or https://.")
    if "://" in text and not text.startswith(_DATABASES):
        raise InputError(
            f"{text!r} is no place for a context",
            hint="Name a state folder, or the URL of a PostgreSQL or of a server (https://...).",
        )
    in_database = text.startswith(_DATABASES)
    return InStores(
        load_settings(
            state=None if in_database else where or None, database=text if in_database else None, namespace=namespace
        )
    )

"""A server's context for a Dash application: values as they are now, for whatever it draws; needs no Dash itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from isolation.client.context import ContextClient

if TYPE_CHECKING:
    from pydantic import JsonValue


class DashContextIntegration:
    """
    What callbacks read: any number of threads at once, over connections that are kept.

    Each call asks the server, and raises what ``ContextClient`` does. ``url`` is for a server with TLS, ``token`` who
    asks (else ISOLATION_TOKEN says it). A server that is not named is that of ISOLATION_URL, else 127.0.0.1:8080.
    """

    def __init__(
        self,
        context_host: str | None = None,
        context_port: int | None = None,
        token: str | None = None,
        *,
        url: str | None = None,
        namespace: str | None = None,
    ) -> None:
        self._client = ContextClient(context_host, context_port, url=url, token=token, namespace=namespace)

    def get_all_context(self, glob: str = "*") -> dict[str, JsonValue]:
        """Return all values under a glob, as they were at one moment, by key."""
        return self._client.get_all(glob)

    def get_context(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return the value of a key, or ``default`` where there is none."""
        return self._client.get(key, default)

    def get_history(self, key: str, limit: int | None = None) -> list[dict[str, JsonValue]]:
        """Return a key's writes, or the newest ``limit``, oldest first: key, before, after, who, timestamp (s)."""
        return self._client.get_history(key, limit=limit)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

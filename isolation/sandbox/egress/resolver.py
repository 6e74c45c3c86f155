"""Who knows addresses of names. A cell never asks one itself: there is no name service inside."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Resolver(Protocol):
    """Knows addresses of names."""

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return a name's addresses as texts, the best first; OSError where it has none, or nobody answers."""


class SystemResolver:
    """Asks as every program of this host does: its hosts file, its name servers."""

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return a name's addresses."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        return tuple(dict.fromkeys(str(place[0]) for *_, place in found))

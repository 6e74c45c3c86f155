"""
From a name to a connection: resolved once, checked, and connected to the very address that was checked.

A name is never handed to the kernel or to a library to be resolved again, so an answer that changes between two
questions (rebinding) changes nothing.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from isolation.model.endpoint import Endpoint, canonical_host, is_address
from isolation.sandbox.egress.allow import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.clock import Clock
    from isolation.sandbox.egress.allow import AllowList
    from isolation.sandbox.egress.bounds import Bounds
    from isolation.sandbox.egress.log import Line
    from isolation.sandbox.egress.resolver import Resolver
    from isolation.sandbox.egress.sockets import Sockets


_QUESTIONS = 3
_LEAST_S = 0.001
"""A time-out of zero would mean not to wait at all, and to fail otherwise than by time."""


class DeniedError(Exception):
    """The policy does not allow it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class UnreachableError(Exception):
    """It is allowed, and cannot be had."""


class Dialler:
    """Makes the connections of one cell."""

    def __init__(
        self, allowed: AllowList, resolver: Resolver, sockets: Sockets, *, clock: Clock, bounds: Bounds
    ) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._sockets = sockets
        self._clock = clock
        self._bounds = bounds

    @contextlib.contextmanager
    def dial(self, line: Line) -> Iterator[socket.socket]:
        """
        Hold a connection to what a line asks for, and write on the line what became of it.

        Raises DeniedError and UnreachableError.
        """
        addresses = self._permitted(line.host, line.port)
        line.allowed = True
        deadline_s = self._clock.monotonic_s() + self._bounds.connect_s
        for address in addresses[: self._bounds.addresses]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with self._sockets.holding(socket.socket(family, socket.SOCK_STREAM)) as far:
                line.address = address
                line.why = _connect(far, address, line.port, deadline_s - self._clock.monotonic_s())
                if not line.why:
                    _watch(far, self._bounds.idle_s)
                    far.settimeout(self._bounds.idle_s)
                    yield far
                    return
        raise UnreachableError(f"{line.host}:{line.port} cannot be reached: {line.why}")

    def _permitted(self, host: str, port: int) -> list[str]:
        refusal = self._allowed.refuse_name(host, port)
        if refusal is not None:
            raise DeniedError(refusal)
        permitted = []
        for address in self._addresses(host, port):
            no = self._allowed.refuse_address(address, port) or self._refuse_own(address, port)
            if no is None:
                permitted.append(address)
            else:
                refusal = refusal or no
        if not permitted:
            assert refusal is not None, "an answer without addresses"  # noqa: S101 - _addresses() gives one or raises
            raise DeniedError(
                refusal
                if is_address(host)
                else Refusal(f"{host} is allowed, but its address {refusal.why}", refusal.needs)
            )
        return permitted

    def _addresses(self, host: str, port: int) -> list[str]:
        if is_address(host):
            return [host]
        try:
            found = [_canonical(address) for address in self._resolver.addresses(host, port)]
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"{host} has no address: {error}") from error
        if not found:
            raise UnreachableError(f"{host} has no address")
        return found

    def _refuse_own(self, address: str, port: int) -> Refusal | None:
        """Refuse this host's own public addresses: what listens there was not meant for us, however it is filtered."""
        if self._allowed.lists(address, port) or not _is_own(address, port):
            return None
        return Refusal(f"{address} is an address of this host's own", needs=str(Endpoint(address, port)))


def _canonical(address: str) -> str:
    """Spell an address; the zone of a link-local one is dropped, as such an address is refused anyway."""
    bare = address.partition("%")[0]
    return canonical_host(f"[{bare}]" if ":" in bare else bare)


def _is_own(address: str, port: int) -> bool:
    """Tell whether the kernel would take an address as both ends of a connection. Nothing is sent for that."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, port))
        except OSError:
            return False  # no way there: the connection itself will say so
        return bool(probe.getsockname()[0] == address)


def _watch(far: socket.socket, silence_s: float) -> None:
    """Have the kernel find out, after that long a silence, that the other end is gone without a word; tcp(7)."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        socket.TCP_NODELAY: 1,
        socket.TCP_KEEPIDLE: max(1, round(silence_s / 2)),
        socket.TCP_KEEPINTVL: max(1, round(silence_s / 2 / _QUESTIONS)),
        socket.TCP_KEEPCNT: _QUESTIONS,
    }
    for option, value in options.items():
        far.setsockopt(socket.IPPROTO_TCP, option, value)


def _connect(far: socket.socket, address: str, port: int, left_s: float) -> str:
    """Connect, or say why not."""
    far.settimeout(max(left_s, _LEAST_S))
    try:
        far.connect((address, port))
    except TimeoutError:
        return "nobody answered in time"
    except OSError as error:
        return error.strerror or str(error)
    return ""

"""The proxy of one cell: a thread that takes connections, and a thread for each of them; all gone at the end."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from isolation.sandbox.egress.log import Log
from isolation.sandbox.egress.sockets import Sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from isolation.clock import Clock
    from isolation.model.network import Network
    from isolation.model.traffic import Traffic
    from isolation.sandbox.egress.bounds import Bounds
    from isolation.sandbox.egress.resolver import Resolver

THREAD_NAME = "egress"
_END_S = 1.0
_PAUSE_S = 0.05


class Proxy:
    """Serves what connects to ``listener``, which becomes its own, from its making until ``close``."""

    def __init__(
        self,
        listener: socket.socket,
        network: Network,
        *,
        resolver: Resolver,
        clock: Clock,
        bounds: Bounds,
    ) -> None:
        self._listener = listener
        self._network = network
        self._resolver = resolver
        self._clock = clock
        self._bounds = bounds
        self._log = Log(clock)
        self._sockets = Sockets()
        self._room = threading.Semaphore(bounds.connections)
        self._lock = threading.Lock()
        self._serving: set[threading.Thread] = set()
        self._closing = threading.Event()
        self._listening = threading.Thread(target=self._listen, name=THREAD_NAME, daemon=True)
        self._listening.start()

    def traffic(self) -> Traffic:
        """Return what was decided and what went through, as it is now."""
        return self._log.traffic()

    def close(self) -> None:
        """
        Cut everything, and wait until its threads are gone.

        One that waits for a name server cannot be woken up: it is left behind, with nothing open any more, and ends
        by itself as soon as the name server answers or the resolver gives up.
        """
        self._closing.set()
        self._sockets.cut()
        self._room.release()
        deadline_s = self._clock.monotonic_s() + _END_S
        self._listening.join(_END_S)
        with self._lock:
            serving = [*self._serving]
        for thread in serving:
            thread.join(max(0.0, deadline_s - self._clock.monotonic_s()))

    def _listen(self) -> None:
        with contextlib.suppress(ConnectionAbortedError), self._sockets.holding(self._listener):
            serve = self._server()
            while not self._closing.is_set():
                self._room.acquire()
                self._take(serve)

    def _server(self) -> Callable[[socket.socket], None]:
        """Bring in what serves a connection, while the caller's thread goes on to make the container."""
        from isolation.sandbox.egress.allow import AllowList  # noqa: PLC0415 - slow to import
        from isolation.sandbox.egress.dial import Dialler  # noqa: PLC0415 - slow to import
        from isolation.sandbox.egress.exchange import Exchange  # noqa: PLC0415 - slow to import

        clock, bounds, tcp = self._clock, self._bounds, frozenset(self._network.tcp)
        dialler = Dialler(AllowList(self._network.entries), self._resolver, self._sockets, clock=clock, bounds=bounds)
        return lambda near: Exchange(near, dialler, self._log, tcp=tcp, clock=clock, bounds=bounds).serve()

    def _take(self, serve: Callable[[socket.socket], None]) -> None:
        """Take one connection into a thread of its own; where there is none to be had now, come back later."""
        near = None
        try:
            near, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(near, serve), name=THREAD_NAME, daemon=True)
            with self._lock:
                self._serving.add(thread)
            thread.start()
        except (OSError, RuntimeError):  # cut; or the host has no descriptor, or no thread, to spare
            self._room.release()
            if near is not None:
                near.close()
            self._closing.wait(_PAUSE_S)

    def _serve(self, near: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        try:
            # Whoever is gone in the middle has no use for an answer; what it did is on its line.
            with contextlib.suppress(OSError), self._sockets.holding(near):
                serve(near)
        finally:
            self._room.release()
            with self._lock:
                self._serving.discard(threading.current_thread())

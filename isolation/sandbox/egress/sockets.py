"""The sockets of one proxy, so that all of them can be cut at once, whatever their threads wait for."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sockets:
    """Holds what is open. After ``cut`` nothing is, and nothing can be held any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = False

    @contextlib.contextmanager
    def holding(self, held: socket.socket) -> Iterator[socket.socket]:
        """Hold a socket, and close it at the end. Raises ConnectionAbortedError after ``cut``."""
        with held:
            with self._lock:
                if self._is_cut:
                    raise ConnectionAbortedError
                self._open.add(held)
            try:
                yield held
            finally:
                with self._lock:
                    self._open.discard(held)

    def cut(self) -> None:
        """Shut all of them down. Whoever waits for one wakes up, also from ``accept`` and ``connect``."""
        with self._lock:
            self._is_cut = True
            for held in self._open:
                with contextlib.suppress(OSError):  # not connected yet, or not any more
                    held.shutdown(socket.SHUT_RDWR)

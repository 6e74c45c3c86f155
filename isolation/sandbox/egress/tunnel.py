"""A tunnel: bytes from one socket to the other and back, unread, until both have ended or nothing moves any more."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE_BYTES = 65536


class _Flow:
    """One direction. It reads only when all that it has read is written: that is the back-pressure."""

    def __init__(self, source: socket.socket, sink: socket.socket, count: Callable[[int], None], first: bytes) -> None:
        self.source, self.sink = source, sink
        self._count = count
        self._pending = memoryview(first)
        self.ended = False

    def wants(self) -> tuple[socket.socket, int] | None:
        """Return what it waits for; None if it has ended."""
        if self.ended:
            return None
        return (self.sink, select.POLLOUT) if self._pending else (self.source, select.POLLIN)

    def move(self) -> None:
        """Move what can be moved now; a sink that takes no more ends it, as the source's own end does."""
        try:
            if not self._pending:
                self._pending = memoryview(self.source.recv(_PIECE_BYTES))
                if not self._pending:
                    self._end()
                    return
            written = self.sink.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        self._count(written)
        self._pending = self._pending[written:]

    def _end(self) -> None:
        self.ended = True
        with contextlib.suppress(OSError):  # gone already
            self.sink.shutdown(socket.SHUT_WR)


def relay(
    near: socket.socket,
    far: socket.socket,
    *,
    idle_s: float | None,
    first: bytes,
    sent: Callable[[int], None],
    received: Callable[[int], None],
) -> bool:
    """
    Relay between the two; ``first`` is what ``near`` has said already.

    Returns at the end; False if that was because nothing had moved for ``idle_s``. None: however long that takes.
    """
    near.settimeout(0)
    far.settimeout(0)
    flows = (_Flow(near, far, sent, first), _Flow(far, near, received, b""))
    while waiting := [(flow, *want) for flow in flows if (want := flow.wants())]:
        masks: dict[int, int] = {}
        for _, at, mask in waiting:
            masks[at.fileno()] = masks.get(at.fileno(), 0) | mask
        poll = select.poll()
        for fd, mask in masks.items():
            poll.register(fd, mask)
        ready = dict(poll.poll(None if idle_s is None else idle_s * 1000))
        if not ready:
            return False
        for flow, at, mask in waiting:
            # An error or a hang-up is told whether it was asked for or not; the next read or write finds it out.
            if ready.get(at.fileno(), 0) & (mask | select.POLLERR | select.POLLHUP):
                flow.move()
    return True

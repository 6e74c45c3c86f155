"""
The way out, seen from inside: listens on the loopback and passes every connection on to the host's socket.

    a step's HTTP client ─▶ 127.0.0.1:port ─▶ this process ─▶ the socket mounted at /egress ─▶ the host's proxy

A process of its own and one thread: it understands nothing, decides nothing and holds nothing but bytes. Steps share
its uid and may kill it, or speak to the socket themselves: what they may reach is decided on the other side.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import sys

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_PAIRS = 64
_SPARE_FDS = 16
_WAITING = 128
_PIECE_BYTES = 65536
_LOOPBACK = "127.0.0.1"


def start(told: dict, forget: Callable[[], None]) -> None:
    """Begin to listen, have a process serve it, and tell all steps of it by their environment."""
    listener = socket.socket()
    listener.bind((_LOOPBACK, told["port"]))
    listener.listen(_WAITING)  # before any step is started: none finds it missing
    if os.fork() == 0:
        _become(listener, told["socket"], forget)
    listener.close()
    os.environ.update(told["environment"])


def _become(listener: socket.socket, path: str, forget: Callable[[], None]) -> None:
    """Turn the forked process into the forwarder; never returns."""
    try:
        forget()
        forward(listener, path)
    except BaseException:  # noqa: BLE001 - a forked process must never return into its parent's work
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(70)


class Flow:
    """One direction. It reads only when all that it has read is written: that is the back-pressure."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.ended = False
        self._pending = memoryview(b"")

    def wants(self) -> tuple[socket.socket, int]:
        """Tell what it waits for."""
        if self.ended:
            return self.source, 0
        return (self.sink, select.POLLOUT) if self._pending else (self.source, select.POLLIN)

    def move(self) -> None:
        """Move what can be moved now; a sink that takes no more ends it, as the source's own end does."""
        try:
            if not self._pending:
                self._pending = memoryview(self.source.recv(_PIECE_BYTES))
            if self._pending:
                self._pending = self._pending[self.sink.send(self._pending) :]
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.end()

    def end(self) -> None:
        """Pass the end on."""
        self.ended = True
        self._pending = memoryview(b"")
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # gone already


class Pair:
    """A client and its connection to the host: two flows."""

    def __init__(self, client: socket.socket, host: socket.socket) -> None:
        self._client, self._host = client, host
        self._up, self._down = Flow(client, host), Flow(host, client)

    @property
    def fds(self) -> tuple[int, int]:
        """Both descriptors."""
        return self._client.fileno(), self._host.fileno()

    @property
    def ended(self) -> bool:
        """Tell whether neither direction goes on."""
        return self._up.ended and self._down.ended

    def wants(self) -> dict[int, int]:
        """
        Tell what it waits for, by descriptor; one that is not there is not waited for at all.

        Nothing (0) still tells of a hang-up: the host's, when all that is left is what the client may yet say.
        """
        masks: dict[int, int] = {}
        for flow in (self._up, self._down):
            at, mask = flow.wants()
            if mask:
                masks[at.fileno()] = masks.get(at.fileno(), 0) | mask
        if self._down.ended and not self._up.ended:
            masks.setdefault(self._host.fileno(), 0)
        return masks

    def move(self, fd: int, seen: int) -> None:
        """Go on after something was seen at one of the two."""
        for flow in (self._up, self._down):
            at, mask = flow.wants()
            if mask and at.fileno() == fd and seen & (mask | select.POLLERR | select.POLLHUP):
                flow.move()
        if self._down.ended and not self._up.ended and _hung_up(self._host):
            self._up.end()  # nobody is left on the other side, whatever the client still has to say

    def close(self) -> None:
        """Close both."""
        self._client.close()
        self._host.close()


def forward(listener: socket.socket, path: str) -> None:
    """Serve the listener for ever. Beyond so many connections, the others wait in the kernel's queue."""
    most = max(1, min(_MOST_PAIRS, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FDS) // 2))
    poll = select.poll()
    pairs: dict[int, Pair] = {}
    listener.settimeout(0)
    while True:
        if len(pairs) < 2 * most:
            poll.register(listener, select.POLLIN)
        for fd, seen in poll.poll():
            if fd == listener.fileno():
                pair = _accept(listener, path)
                if pair is not None:
                    pairs |= dict.fromkeys(pair.fds, pair)
                    _watch(poll, pair)
                if len(pairs) >= 2 * most:
                    poll.unregister(listener)
            elif fd in pairs:  # its other end may have ended it in this very round
                pair = pairs[fd]
                pair.move(fd, seen)
                _watch(poll, pair)
                if pair.ended:
                    for each in pair.fds:
                        del pairs[each]
                    pair.close()


def _watch(poll: select.poll, pair: Pair) -> None:
    """Wait for what a pair wants and for nothing else: a hang-up that nobody waits for would be told without end."""
    masks = pair.wants()
    for fd in pair.fds:
        if fd in masks:
            poll.register(fd, masks[fd])
        else:
            try:
                poll.unregister(fd)
            except KeyError:
                continue  # not waited for anyway


def _accept(listener: socket.socket, path: str) -> Pair | None:
    try:
        client, _ = listener.accept()
    except OSError:
        return None  # it left again, or there is no descriptor to spare
    host = socket.socket(socket.AF_UNIX)
    try:
        host.settimeout(0)
        host.connect(path)
    except OSError:  # the host's queue is full, or it has ended the run
        host.close()
        client.close()
        return None
    client.settimeout(0)
    return Pair(client, host)


def _hung_up(end: socket.socket) -> bool:
    poll = select.poll()
    poll.register(end, 0)
    return bool(poll.poll(0))

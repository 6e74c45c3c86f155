"""
The way out, seen from inside: listens on the loopback and passes every connection on to the host's socket.

    a step's HTTP client ─▶ 127.0.0.1:port ────▶ this process ─▶ the socket mounted at /egress ─▶ the host's proxy
    any other            ─▶ 127.64.0.N:port ─▶   says first: CONNECT name:port

A process of its own and one thread: it decides nothing and holds nothing but bytes. Steps share its uid and may kill
it, or speak to the socket themselves: what they may reach is decided on the other side.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import sys

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_PAIRS = 64
_SPARE_FDS = 15
_WAITING = 128
_PIECE_BYTES = 65536
_HEAD_BYTES = 4096
_END_OF_HEAD = b"\r\n\r\n"
_LOOPBACK = "127.0.0.1"


def start(told: dict, forget: Callable[[], None]) -> None:
    """Begin to listen, have a process serve it, and tell all steps of it by their environment."""
    places = {(_LOOPBACK, told["port"]): ""} | {(address, port): name for address, port, name in told["tcp"]}
    listeners = {_listen(place): name for place, name in places.items()}  # before any step: none finds it missing
    if os.fork() == 0:
        _become(listeners, told["socket"], forget)
    for listener in listeners:
        listener.close()
    os.environ.update(told["environment"])


def _listen(place: tuple[str, int]) -> socket.socket:
    listener = socket.socket()
    listener.bind(place)
    listener.listen(_WAITING)
    return listener


def _become(listeners: dict[socket.socket, str], path: str, forget: Callable[[], None]) -> None:
    """Turn the forked process into the forwarder; never returns."""
    try:
        forget()
        forward(listeners, path)
    except BaseException:  # noqa: BLE001 - a forked process must never return into its parent's work
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(70)


class Flow:
    """One direction. It reads only when all that it has read is written: that is the back-pressure."""

    refused = False

    def __init__(self, source: socket.socket, sink: socket.socket, first: bytes = b"") -> None:
        self.source, self.sink = source, sink
        self.ended = False
        self._pending = memoryview(first)

    def wants(self) -> tuple[socket.socket, int]:
        """Tell what it waits for."""
        if self.ended:
            return self.source, 0
        return (self.sink, select.POLLOUT) if self._pending else (self.source, select.POLLIN)

    def move(self) -> None:
        """Move what can be moved now; a sink that takes no more ends it, as the source's own end does."""
        try:
            if not self._pending:
                self._pending = memoryview(self._receive())
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

    def _receive(self) -> bytes:
        return self.source.recv(_PIECE_BYTES)


class Answered(Flow):
    """
    From the host to a client who has not asked it anything: the host's answer to us comes first, and stays here.

    Unless it is yes, nothing goes to the client, and its connection is reset: an end would be an empty answer.
    """

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        super().__init__(source, sink)
        self.refused = False
        self._head: bytes | None = b""

    def end(self) -> None:
        """Pass the end on, or the refusal."""
        self.refused = self._head is not None
        if self.refused:
            self.ended = True
            self.sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            super().end()

    def _receive(self) -> bytes:
        """Take a piece; BlockingIOError until the host has said yes, OSError if it says anything else."""
        piece = super()._receive()
        if self._head is None:
            return piece
        self._head += piece
        head, end, rest = self._head.partition(_END_OF_HEAD)
        if piece and not end and len(head) < _HEAD_BYTES:
            raise BlockingIOError
        if not end or head.split(b" ", 2)[1:2] != [b"200"]:
            raise ConnectionRefusedError
        self._head = None
        if not rest:
            raise BlockingIOError
        return rest


class Pair:
    """A client and its connection to the host: two flows. ``name`` is for whom; empty: the client itself says it."""

    def __init__(self, client: socket.socket, host: socket.socket, name: str) -> None:
        self._client, self._host = client, host
        first = f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n" if name else ""
        self._up = Flow(client, host, first.encode())
        self._down = Answered(host, client) if name else Flow(host, client)

    @property
    def fds(self) -> tuple[int, int]:
        """Both descriptors."""
        return self._client.fileno(), self._host.fileno()

    @property
    def ended(self) -> bool:
        """Tell whether neither direction goes on, or the host has refused it."""
        return self._down.ended and (self._up.ended or self._down.refused)

    def wants(self) -> dict[int, int]:
        """
        Tell what it waits for, by descriptor; one that is not there is not waited for at all.

        Nothing (0) still tells of a hang-up: the host's, when all that is left is what the client may yet say.
        """
        masks: dict[int, int] = {}
        if self.ended:
            return masks
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


def forward(listeners: dict[socket.socket, str], path: str) -> None:
    """
    Serve listeners for ever, each for the endpoint of that name; empty: for whom the clients ask.

    Beyond so many connections, the others wait in the kernel's queue.
    """
    spare_fds = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FDS - len(listeners)
    most_fds = 2 * max(1, min(_MOST_PAIRS, spare_fds // 2))
    poll = select.poll()
    pairs: dict[int, Pair] = {}
    listening = {listener.fileno(): listener for listener in listeners}
    for listener in listeners:
        listener.settimeout(0)
    while True:
        for fd in listening:
            poll.register(fd, select.POLLIN if len(pairs) < most_fds else 0)
        for fd, seen in poll.poll():
            if fd in listening:
                pair = _accept(listening[fd], path, listeners[listening[fd]]) if len(pairs) < most_fds else None
                if pair is not None:
                    pairs |= dict.fromkeys(pair.fds, pair)
                    _watch(poll, pair)
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


def _accept(listener: socket.socket, path: str, name: str) -> Pair | None:
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
    return Pair(client, host, name)


def _hung_up(end: socket.socket) -> bool:
    poll = select.poll()
    poll.register(end, 0)
    return bool(poll.poll(0))

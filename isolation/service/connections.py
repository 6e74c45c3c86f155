"""
Who may hold a connection: so many altogether and of one address, and only while something is asked or answered.

The one module that knows uvicorn's own connections, which wait without end: for the head of a request, for the rest of
a body that nobody reads any more, and for somebody to take an answer. They also keep a head however large it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from isolation.service.problems import RETRY_S, answer
from isolation.units import format_bytes

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    from fastapi.responses import JSONResponse

LARGEST_HEAD_BYTES = 2**16
"""So much may come, but for what is read at once with it, that is neither a whole head nor a part of a body."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """
    How many connections there may be, and how many of one address.

    ``patience_s`` is the time for nothing to be asked, and as much again for the head of a request to be there. What is
    ready of an answer waits as long as both for somebody to take it.
    """

    most: int
    most_of_one: int
    patience_s: float


def connections(room: Room) -> type[HttpToolsProtocol]:
    """Make the class of connections that uvicorn is to be told of."""

    class Connection(_Connection):
        pass

    Connection.room = room
    return Connection


class _Connection(HttpToolsProtocol):
    """
    A connection that is let go of where uvicorn would wait.

    ::

        opened ──▶ head awaited ──head──▶ asked, and answered ──▶ head awaited (and idle at first) ──▶ ...
                        └─ too long: away          └─ nobody takes it: away
    """

    room: Room
    _head_late: TimerHandle | None = None
    _untaken: TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own has it
        super().connection_made(transport)
        self._await_head(self.room.patience_s)
        of_one = sum(_address(other) == _address(self) for other in self.connections)
        if len(self.connections) > self.room.most or of_one > self.room.most_of_one:
            transport.write(_FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._stop(self._head_late)
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0  # what comes before the next part, and after the last, counts like a head
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # else the head of the next is there already
            self._await_head(2 * self.room.patience_s)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = self.loop.call_later(2 * self.room.patience_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop(self._untaken)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._head_late)
        self._stop(self._untaken)
        super().connection_lost(exc)

    def _await_head(self, within_s: float) -> None:
        self._stop(self._head_late)
        self._head_late = self.loop.call_later(within_s, self.transport.abort)  # closing would wait for what is untaken

    @staticmethod
    def _stop(timer: TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def _address(connection: object) -> str:
    client: tuple[str, int] | None = getattr(connection, "client", None)  # they have nothing in common but this
    return client[0] if client else ""


def _written(status: str, problem: JSONResponse) -> bytes:
    head = b"".join(b"%s: %s\r\n" % header for header in problem.raw_headers)
    return f"HTTP/1.1 {status}\r\n".encode() + head + b"\r\n" + bytes(problem.body)


_FULL = _written(
    "503 Service Unavailable",
    answer(
        503,
        "too_many_connections",
        "too many connections are open already",
        f"Close what is not used, or try again in {RETRY_S} s.",
        {"Retry-After": str(RETRY_S), "Connection": "close"},
    ),
)
_TOO_LARGE = _written(
    "431 Request Header Fields Too Large",
    answer(
        431,
        "head_too_large",
        f"the head of the request is larger than {format_bytes(LARGEST_HEAD_BYTES)}",
        "Send a shorter address, and fewer headers.",
        {"Connection": "close"},
    ),
)

"""
One connection from the cell: one request, one answer, and the end.

One request a connection, on both sides: nothing is left in a buffer that could be taken for the next one's.
"""

from __future__ import annotations

import contextlib
import http
import re
import socket
from functools import partial
from typing import TYPE_CHECKING

import h11

from isolation.model.endpoint import Endpoint
from isolation.sandbox.egress.dial import DeniedError, UnreachableError
from isolation.sandbox.egress.target import BadRequestError, outgoing, read_target, returning
from isolation.sandbox.egress.tunnel import relay

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from isolation.clock import Clock
    from isolation.sandbox.egress.bounds import Bounds
    from isolation.sandbox.egress.dial import Dialler
    from isolation.sandbox.egress.log import Line, Log
    from isolation.sandbox.egress.target import Target

_PIECE_BYTES = 65536
_HEAD_PIECE_BYTES = 4096
_LINGER_S = 2.0
_LINGER_BYTES = 2**20
_LEAST_S = 0.001
_UNPRINTABLE = re.compile(r"[^ -~]")
_LONGEST_PHRASE = 300


_ECHO = re.compile(r":? (?:bytearray\()?b['\"]")


class _FarError(Exception):
    """The server is gone, silent, or does not speak HTTP."""


class Exchange:
    """
    Serves one connection; ``serve`` returns when all is said. Raises OSError where the client is gone.

    ``tcp`` are endpoints in whose tunnels nothing may move for as long as the cell lives.
    """

    def __init__(
        self,
        near: socket.socket,
        dialler: Dialler,
        log: Log,
        *,
        tcp: AbstractSet[Endpoint],
        clock: Clock,
        bounds: Bounds,
    ) -> None:
        self._near = near
        self._dialler = dialler
        self._log = log
        self._tcp = tcp
        self._clock = clock
        self._bounds = bounds
        self._said = h11.Connection(h11.SERVER, max_incomplete_event_size=bounds.head_bytes)
        self._wants_body = True

    def serve(self) -> None:
        """Take the request, decide, and do it or say why not."""
        try:
            request = self._hear_head()
            if request is None:
                return
            target = read_target(request)
        except BadRequestError as error:
            line = self._log.begin("http", error.host, error.port)
            line.why = str(error)
            self._log.end(line)
            self._refuse(error.status, str(error))
            return
        is_tcp = target.via == "connect" and Endpoint(target.host, target.port) in self._tcp
        line = self._log.begin("tcp" if is_tcp else target.via, target.host, target.port)
        try:
            self._do(request, target, line)
        finally:
            self._log.end(line)

    def _do(self, request: h11.Request, target: Target, line: Line) -> None:
        try:
            with self._dialler.dial(line) as far:
                if target.via == "connect":
                    self._tunnel(far, line)
                else:
                    self._forward(request, target, far, line)
        except DeniedError as error:
            line.why = str(error)
            self._refuse(403, str(error))
        except UnreachableError as error:
            line.why = str(error)
            self._refuse(502, str(error))

    def _hear_head(self) -> h11.Request | None:
        """Take a request's head; None if the connection ended without one. Raises BadRequestError."""
        deadline_s = self._clock.monotonic_s() + self._bounds.head_s
        try:
            while (event := self._said.next_event()) is h11.NEED_DATA:
                self._near.settimeout(max(deadline_s - self._clock.monotonic_s(), _LEAST_S))
                self._said.receive_data(self._near.recv(_HEAD_PIECE_BYTES))
        except h11.RemoteProtocolError as error:
            raise BadRequestError(f"no request: {_without_echo(error)}", status=error.error_status_hint) from error
        except TimeoutError as error:
            raise BadRequestError(f"no whole request within {self._bounds.head_s:g} s", status=408) from error
        self._near.settimeout(self._bounds.idle_s)
        if not isinstance(event, h11.Request):
            return None
        self._wants_body = event.method != b"HEAD"
        return event

    def _refuse(self, status: int, why: str) -> None:
        """
        Answer with an error. The reason stands in the status line too: of a refused tunnel, clients show no more.

        What the client is still sending is taken and dropped for a while: closing on it would lose the answer.
        """
        sentence = _UNPRINTABLE.sub("?", why)[:_LONGEST_PHRASE].encode()
        body = b"isolation: %s\n" % sentence
        headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
        phrase = b"%s: %s" % (http.HTTPStatus(status).phrase.encode(), sentence)
        self._near.settimeout(_LINGER_S)
        answer = h11.Response(status_code=status, headers=headers, reason=phrase)
        self._answer(answer, h11.Data(data=body if self._wants_body else b""), h11.EndOfMessage())
        self._near.shutdown(socket.SHUT_WR)
        deadline_s, taken = self._clock.monotonic_s() + _LINGER_S, 0
        with contextlib.suppress(TimeoutError):
            while taken < _LINGER_BYTES and self._clock.monotonic_s() < deadline_s:
                piece = self._near.recv(_PIECE_BYTES)
                if not piece:
                    return
                taken += len(piece)

    def _answer(self, *events: h11.Event) -> None:
        for event in events:
            self._near.sendall(self._said.send(event) or b"")

    def _tunnel(self, far: socket.socket, line: Line) -> None:
        while self._said.next_event() is not h11.PAUSED:
            continue
        self._answer(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        ended = relay(
            self._near,
            far,
            idle_s=None if line.via == "tcp" else self._bounds.idle_s,
            first=self._said.trailing_data[0],
            sent=lambda count: self._log.count(line, sent=count),
            received=lambda count: self._log.count(line, received=count),
        )
        if not ended:
            line.why = f"nothing moved for {self._bounds.idle_s:g} s"

    def _forward(self, request: h11.Request, target: Target, far: socket.socket, line: Line) -> None:
        server = _Server(far, self._bounds, partial(self._log.count, line))
        try:
            self._pass_request(request, target, server)
        except _FarError as error:  # it may have answered before it stopped listening
            line.why = str(error)
        except h11.ProtocolError as error:
            line.why = f"the request broke off: {_without_echo(error)}"
            self._refuse(400, line.why)
            return
        try:
            self._pass_response(server)
        except (_FarError, h11.ProtocolError) as error:
            line.why = line.why or _without_echo(error)
            if self._said.our_state is h11.SEND_RESPONSE:
                self._refuse(502, f"{target.host}:{target.port}: {line.why}")

    def _pass_request(self, request: h11.Request, target: Target, server: _Server) -> None:
        server.say(h11.Request(method=request.method, target=target.path, headers=outgoing(request, target)))
        if self._said.they_are_waiting_for_100_continue:
            self._answer(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        while True:
            event = self._said.next_event()
            if event is h11.NEED_DATA:
                self._said.receive_data(self._near.recv(_PIECE_BYTES))
            elif isinstance(event, h11.Data):
                server.say(event)
            else:
                server.say(h11.EndOfMessage())
                return

    def _pass_response(self, server: _Server) -> None:
        while True:
            event = server.hear()
            if isinstance(event, h11.Response):
                headers = returning(event)
                self._answer(h11.Response(status_code=event.status_code, headers=headers, reason=event.reason))
            elif isinstance(event, h11.Data):
                self._answer(event)
            elif isinstance(event, h11.EndOfMessage):
                self._answer(h11.EndOfMessage())
                return


class _Server:
    """The far end of a plain request, its bytes counted. Raises _FarError for all that goes wrong there."""

    def __init__(self, far: socket.socket, bounds: Bounds, count: partial[None]) -> None:
        self._far = far
        self._count = count
        self._idle_s = bounds.idle_s
        self._said = h11.Connection(h11.CLIENT, max_incomplete_event_size=bounds.head_bytes)

    def say(self, event: h11.Event) -> None:
        content = self._said.send(event) or b""
        try:
            self._far.sendall(content)
        except OSError as error:
            raise self._gone(error) from error
        self._count(sent=len(content))

    def hear(self) -> h11.Event:
        try:
            while not isinstance(event := self._said.next_event(), h11.Event):
                content = self._far.recv(_PIECE_BYTES)
                self._count(received=len(content))
                self._said.receive_data(content)
        except OSError as error:
            raise self._gone(error) from error
        except h11.RemoteProtocolError as error:
            raise _FarError(f"what came back is no HTTP: {_without_echo(error)}") from error
        return event

    def _gone(self, error: OSError) -> _FarError:
        if isinstance(error, TimeoutError):
            return _FarError(f"nothing moved for {self._idle_s:g} s")
        return _FarError(f"the connection broke: {error.strerror or error}")


def _without_echo(error: Exception) -> str:
    """
    Say what was wrong with a message without quoting it: a header may hold what no record may.

    >>> _without_echo(h11.RemoteProtocolError("illegal header line: bytearray(b'Authorization x')"))
    'illegal header line'
    """
    return _ECHO.split(str(error))[0]

"""The runner's end of the channel: standard input and output of the container, taken over before anything else."""

from __future__ import annotations

import json
import os

from isolation.contract import BYE, END, HEADER, NONCE_BYTES, PIECE_BYTES, PLAN, SECRETS, Malformed, Tally, dumps

_PLAN_BYTES = 64 * 2**20
_SECRETS_BYTES = 8 * 2**20


class Channel:
    """
    Sends frames and receives the plan. Writes block until the host reads: that is the back-pressure.

    Frames that are sent close upon each other leave as one write, since each wakes three processes on its way: when it
    is as much as a piece, with ``flush``, or before anything is received.
    """

    def __init__(self, fd_in: int, fd_out: int) -> None:
        self._in, self._out = fd_in, fd_out
        self._nonce = bytearray(NONCE_BYTES)
        self._tally = Tally()
        self._unsent = bytearray()

    @classmethod
    def take_over_stdio(cls) -> Channel:
        """Move the channel away from descriptors 0 and 1, so that nothing writes to it by accident."""
        channel = cls(os.dup(0), os.dup(1))
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.close(null)
        return channel

    def receive_plan(self) -> dict:
        """Take the nonce and the plan."""
        self._fill(self._nonce)
        kind, payload = self._receive()
        if kind != PLAN:
            raise Malformed(f"frame kind {kind} instead of the plan")
        document: dict = json.loads(payload)  # our own host wrote it, for recipes of any size
        return document

    def receive_secrets(self) -> bytearray:
        """Take the secrets, into one buffer that can be wiped: no part of them is ever anywhere else in here."""
        kind, length = HEADER.unpack(self._read(HEADER.size))
        if kind != SECRETS or length > _SECRETS_BYTES:
            raise Malformed(f"frame kind {kind}, of {length} bytes, instead of the secrets")
        buffer = bytearray(length)
        self._fill(buffer)
        return buffer

    def send_json(self, kind: int, value: object) -> None:
        """Send one JSON frame."""
        self.send(kind, dumps(value))

    def send(self, kind: int, *pieces: bytes) -> None:
        """Send one frame whose payload is given in pieces."""
        header = HEADER.pack(kind, sum(len(piece) for piece in pieces))
        self._tally.add(header, *pieces)
        self._unsent += header
        for piece in pieces:
            self._unsent += piece
        if len(self._unsent) >= PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Let out what was sent; whoever waits, or starts a process that may end it all, does it first."""
        if self._unsent:
            self._write(self._unsent)
            self._unsent = bytearray()

    def end(self) -> None:
        """Send END, the proof of all that went before."""
        body = self._tally.end(self._nonce)
        self._unsent += HEADER.pack(END, len(body)) + body
        self.flush()

    def wait_for_bye(self) -> None:
        """Stay until the host has read the counters, or is gone."""
        try:
            kind, _ = self._receive()
        except EOFError:
            return
        if kind != BYE:
            raise Malformed(f"frame kind {kind} instead of the farewell")

    def begin_again(self) -> None:
        """Forget the run before: the next has a nonce and a count of its own."""
        self._nonce[:] = bytes(NONCE_BYTES)
        self._tally = Tally()

    def forget(self) -> None:
        """Close the channel and wipe the nonce: called in a step's process before any of its code."""
        self._nonce[:] = bytes(NONCE_BYTES)
        os.close(self._in)
        os.close(self._out)

    def _fill(self, buffer: bytearray) -> None:
        self.flush()
        view = memoryview(buffer)
        while view:
            taken = os.readv(self._in, [view])
            if taken == 0:
                raise SystemExit("the host closed the channel before all was delivered")
            view = view[taken:]

    def _receive(self) -> tuple[int, bytes]:
        kind, length = HEADER.unpack(self._read(HEADER.size))
        if length > _PLAN_BYTES:
            raise Malformed(f"a frame of {length} bytes")
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        self.flush()
        pieces = []
        while length:
            piece = os.read(self._in, min(length, 2**20))
            if not piece:
                raise EOFError
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)

    def _write(self, content: bytearray) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self._out, view) :]

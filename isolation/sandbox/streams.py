"""The host's end of the channel: a hijacked stream of the engine in, checked frames out. Believes nothing."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from isolation import contract
from isolation.contract import HEADER, Malformed, Tally

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_PACKET = struct.Struct(">BxxxI")
_STDOUT, _STDERR = 1, 2
_RECEIVE_BYTES = 256 * 1024
DIAGNOSTIC_BYTES = 16 * 1024
_OVERHEAD_BYTES = 64 * 1024


class Channel:
    """
    Frames from a started container.

    The engine packs the two streams into packets (Engine API, attach: one byte for the stream, four for the
    length); the runner's frames lie in the first, its own last words, if it dies, in the second.
    """

    def __init__(self, stream: socket.socket, result_bytes: int, heard: tuple[int, bytes] | None = None) -> None:
        """``heard`` is a first frame that was received by who held the stream before; it is yielded again."""
        self._socket = stream
        self._header = bytearray()
        self._source = 0
        self._left = 0
        self._frames = bytearray()
        self._diagnostics = bytearray()
        self._tally = Tally()
        self._most = {
            contract.LOG: contract.LOG_HEADER.size + contract.PIECE_BYTES,
            contract.CHUNK: contract.PIECE_BYTES,
            contract.STEP_ENDED: result_bytes + _OVERHEAD_BYTES,
            contract.END: contract.END_BODY.size,
        }
        self.received_bytes = 0
        self.closed = False
        self._heard = heard
        if heard is not None:
            self._tally.add(contract.frame(*heard))

    @property
    def diagnostics(self) -> str:
        """Return the last words of the runner itself; empty unless it died."""
        return self._diagnostics.decode("utf-8", "backslashreplace")

    @property
    def stream(self) -> socket.socket:
        """The stream itself, for who goes on with it by another channel."""
        return self._socket

    def check_nothing_follows(self) -> None:
        """Raise Malformed where more has come than the frames that were yielded."""
        if self._frames or self._header or self._left:
            raise Malformed("bytes after a frame that should be the last")

    def send(self, content: bytes, timeout_s: float) -> None:
        """Send bytes to the runner. Raises OSError where it is gone or does not take them in time."""
        self._socket.settimeout(timeout_s)
        self._socket.sendall(content)

    def receive(self, timeout_s: float) -> Iterator[tuple[int, bytes]]:
        """
        Wait for bytes at most so long, and yield the frames that are whole.

        Raises Malformed for bytes that are no frame of ours; sets ``closed`` at the end of the stream.
        """
        if self._heard is not None:
            heard, self._heard = self._heard, None
            yield heard
            return
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            content = self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError:
            return
        except OSError:
            content = b""
        if not content:
            self.closed = True
            return
        self._unpack(content)
        yield from self._take_frames()

    def check_end(self, payload: bytes, nonce: bytes) -> None:
        """Raise Malformed unless END proves exactly what was received."""
        if payload != self._tally.end(nonce):
            raise Malformed("the end of the answer does not prove what went before it")
        if self._frames:
            raise Malformed("bytes after the end of the answer")

    def close(self) -> None:
        """Close our end; the runner reads the end of its input."""
        self._socket.close()

    def _unpack(self, content: bytes) -> None:
        """Take packets apart as they come; nothing waits for the rest of one, whatever length it claims."""
        position = 0
        while position < len(content):
            if not self._left:
                header = content[position : position + _PACKET.size - len(self._header)]
                self._header += header
                position += len(header)
                if len(self._header) == _PACKET.size:
                    self._source, self._left = _PACKET.unpack(self._header)
                    self._header.clear()
                continue
            piece = content[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            if self._source == _STDOUT:
                self._frames += piece
                self.received_bytes += len(piece)
            elif self._source == _STDERR:
                self._diagnostics += piece
                del self._diagnostics[:-DIAGNOSTIC_BYTES]
            else:
                raise Malformed(f"a packet of the unknown stream {self._source}")

    def _take_frames(self) -> Iterator[tuple[int, bytes]]:
        while len(self._frames) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._frames)
            if not contract.HELLO <= kind <= contract.END:
                raise Malformed(f"a frame of the unknown kind {kind}")
            if length > self._most.get(kind, contract.SMALL_FRAME_BYTES):
                raise Malformed(f"a frame of kind {kind} with {length} bytes")
            end = HEADER.size + length
            if len(self._frames) < end:
                return
            whole = bytes(self._frames[:end])
            del self._frames[:end]
            if kind != contract.END:
                self._tally.add(whole)
            yield kind, whole[HEADER.size :]

"""
Hands a standing cell to another process: all that is known of it, its stream, its pidfd and its group's eventfd.

The engine, the leases and the ways out are the receiver's own. Only who may do the same anyway is given one, and what
comes is believed: both ends are our own code, of the same version.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from isolation.sandbox.descriptor import Descriptor
from isolation.sandbox.streams import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isolation.sandbox.cell import Cell

_HEAD = struct.Struct(">I")
_MOST_DESCRIPTORS = 8
_DESCRIPTOR, _SOCKET = "descriptor", "socket"


def send_cell(connection: socket.socket, cell: Cell | None, own: Mapping[str, object]) -> None:
    """Send a cell, or that there is none. ``own`` are the parts that the receiver has for itself, by name."""
    content = io.BytesIO()
    pickler = _Pickler(content, own)
    pickler.dump(cell)
    socket.send_fds(connection, [_HEAD.pack(content.tell())], pickler.descriptors)
    connection.sendall(content.getvalue())


def receive_cell(connection: socket.socket, own: Mapping[str, object]) -> Cell | None:
    """Receive one, to live with our ``own`` parts. Raises OSError or EOFError where the other end is gone."""
    head, descriptors, _, _ = socket.recv_fds(connection, _HEAD.size, _MOST_DESCRIPTORS)
    (length,) = _HEAD.unpack(head + exactly(connection, _HEAD.size - len(head)))
    content = exactly(connection, length)
    return cast("Cell | None", _Unpickler(io.BytesIO(content), own, descriptors).load())


def exactly(connection: socket.socket, length: int) -> bytes:
    """Receive so many bytes. Raises EOFError where they do not come."""
    found = bytearray()
    while len(found) < length:
        piece = connection.recv(length - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, own: Mapping[str, object]) -> None:
        super().__init__(file)
        self._names = {id(part): name for name, part in own.items()}
        self.descriptors: list[int] = []

    def persistent_id(self, value: object) -> tuple[str, int] | str | None:
        if isinstance(value, Descriptor | socket.socket):
            self.descriptors.append(value if isinstance(value, Descriptor) else value.fileno())
            kind = _DESCRIPTOR if isinstance(value, Descriptor) else _SOCKET
            return kind, len(self.descriptors) - 1
        return self._names.get(id(value))

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - as pickle says
        # Between two frames there is nothing in it but the stream; who claims a cell goes on by another channel.
        return (Channel, (value.stream, 0)) if isinstance(value, Channel) else NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, own: Mapping[str, object], descriptors: list[int]) -> None:
        super().__init__(file)
        self._own = own
        self._descriptors = descriptors

    def persistent_load(self, found: tuple[str, int] | str) -> object:
        if isinstance(found, str):
            return self._own[found]
        kind, number = found
        descriptor = self._descriptors[number]
        return socket.socket(fileno=descriptor) if kind == _SOCKET else Descriptor(descriptor)

"""What goes from a caller to its pool, and comes back: the only module that knows how."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import NamedTuple

READY = b"+"
"""Said by whoever will carry a command out, before it is told what: until then the caller may go elsewhere."""
DECLINED = b"declined"
"""Said instead of how it ended: nothing was carried out."""

_HEAD = struct.Struct(">I")
_MOST_DESCRIPTORS = 250
"""A message carries no more than SCM_MAX_FD, which is 253."""
_PEER = struct.Struct("3i")


class Call(NamedTuple):
    """
    What a command is called with.

    ``descriptors`` are the numbers it has in the caller beside its folder, and are to have again; ``ignored`` are the
    signals that the caller ignores, as under nohup(1).
    """

    program: str
    arguments: list[str]
    environment: dict[str, str]
    umask: int
    ignored: list[int]
    descriptors: list[int]


def own_call() -> Call:
    """Describe how this process was called."""
    umask = os.umask(0o077)
    os.umask(umask)
    return Call(
        program=sys.argv[0],
        arguments=sys.argv[1:],
        environment=dict(os.environ),
        umask=umask,
        ignored=[number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN],
        descriptors=_inherited(),
    )


def can_go(call: Call) -> bool:
    """Tell whether the call can be sent as it is: the three streams are open, and not too many descriptors are."""
    return {0, 1, 2} <= {*call.descriptors} and len(call.descriptors) < _MOST_DESCRIPTORS


def send(connection: socket.socket, call: Call) -> None:
    """Send a call, with its descriptors and, first of them, the folder that the caller is in."""
    text = json.dumps(call).encode()
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        socket.send_fds(connection, [_HEAD.pack(len(text))], [here, *call.descriptors])
    finally:
        os.close(here)
    connection.sendall(text)


def receive(connection: socket.socket) -> tuple[Call, list[int]]:
    """Receive a call and its descriptors, the folder first. Raises EOFError where the caller went away."""
    head, fds, _, _ = socket.recv_fds(connection, _HEAD.size, _MOST_DESCRIPTORS + 1)
    (length,) = _HEAD.unpack(head + _exactly(connection, _HEAD.size - len(head)))
    return Call(*json.loads(_exactly(connection, length))), fds


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Ask the kernel for the process number and the user of the other end, as they were when it connected."""
    pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return pid, uid


def connect(folder: str, name: str, timeout_s: float) -> socket.socket | None:
    """Connect to the pool of that name; None if this user has none there, or it does not answer in that time."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    with suppress(OSError):
        at = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            connection.connect(f"/proc/self/fd/{at}/{name}")  # a socket's own path may have 108 bytes
        finally:
            os.close(at)
        if peer_of(connection)[1] == os.geteuid():
            return connection
    connection.close()
    return None


def _exactly(connection: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        piece = connection.recv(length - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


def _inherited() -> list[int]:
    """List the descriptors that the caller was started with: what Python opens itself is closed on exec."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib is slow to import
        with suppress(OSError):  # the listing's own is gone by now
            if os.get_inheritable(int(name)):
                found.append(int(name))
    return sorted(found)

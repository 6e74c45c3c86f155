"""
Where a pool listens: a socket named by its key, in a folder that only this user may open.

Whoever binds or removes a socket there holds the folder's lock. A pool that is killed leaves its socket behind;
nobody answers there, and the next pool takes the place.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.cli.ahead.call import READY, connect, peer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANSWERS_WITHIN_S = 0.5
_WAITING_CALLERS = 64


class Place:
    """The place of one pool."""

    def __init__(self, folder: str | Path, name: str) -> None:
        self.path = Path(folder) / name
        self._file = 0

    def listen(self) -> socket.socket | None:
        """Take the place; None if a pool is there already. Raises OSError where there can be none."""
        with _locked(self.path.parent) as folder:
            if _is_served(self.path):
                return None
            self.path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            # A socket's path may have 108 bytes. Nobody comes in before the folder lets them: it is 0700.
            listener.bind(f"/proc/self/fd/{folder}/{self.path.name}")
            self.path.chmod(0o600)
            listener.listen(_WAITING_CALLERS)
            listener.settimeout(0)
            self._file = self.path.stat().st_ino
            return listener

    def leave(self, listener: socket.socket) -> None:
        """Give the place up. Callers that wait there already find that nobody answers, and go elsewhere."""
        with suppress(OSError), _locked(self.path.parent):
            listener.close()
            if self.path.stat().st_ino == self._file:  # else another has taken it, and is newer
                self.path.unlink()


def taken(folder: str | Path) -> list[tuple[Path, int]]:
    """Find this user's pools: where each listens, and the number of its process. What dead ones left is removed."""
    found: list[tuple[Path, int]] = []
    if not Path(folder).is_dir():
        return found
    with _locked(Path(folder)):
        for path in sorted(Path(folder).iterdir()):
            pid = listener_of(path)
            if pid:
                found.append((path, pid))
            else:
                path.unlink()
    return found


def clear(folder: str | Path) -> list[int]:
    """End this user's pools there; returns their numbers once they are gone."""
    ended = []
    for path, pid in taken(folder):
        with suppress(ProcessLookupError):  # it ended by itself
            process = os.pidfd_open(pid)
            signal.pidfd_send_signal(process, signal.SIGTERM)
            select.select([process], [], [])
            os.close(process)
            path.unlink(missing_ok=True)
            ended.append(pid)
    return ended


def listener_of(path: Path) -> int:
    """Return the number of the process that listens there; 0 where none does."""
    connection = connect(str(path.parent), path.name, _ANSWERS_WITHIN_S)
    if connection is None:
        return 0
    with connection:
        return peer_of(connection)[0]


def _is_served(path: Path) -> bool:
    """Tell whether a pool there would carry out a command: one that has grown old takes leave instead."""
    connection = connect(str(path.parent), path.name, _ANSWERS_WITHIN_S)
    if connection is None:
        return False
    with connection, suppress(OSError):
        return connection.recv(1) == READY
    return False


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{folder} is open to others")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)

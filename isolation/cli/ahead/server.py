"""The pool itself: imports everything, listens, and forks; ends when nobody has called for a while."""

from __future__ import annotations

import ctypes
import gc
import os
import pkgutil
import selectors
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.cli.ahead.attendant import attend
from isolation.cli.ahead.call import peer_of
from isolation.cli.ahead.lending import Expected, lending_place, start_lending
from isolation.cli.ahead.place import Place
from isolation.cli.ahead.standing import key, standing

if TYPE_CHECKING:
    import socket

STARTED = "ready"
"""Written to stdout once the pool can be called."""

_PACKAGE = Path(__file__).parents[2]
_NAME = b"isolation-pool"
_SET_NAME = 15
"""prctl(2)"""
_NEVER_BY_A_RUN = ("isolation.state.migrations", "isolation.sandbox.doctor", "isolation.testing")
_LATE = (
    *("docker", "platformdirs.unix", "psutil", "pydantic.dataclasses", "rich.live"),
    *("sqlalchemy.dialects.sqlite", "sqlite3"),
)
"""What ours import only when they use it."""


def main(folder: str, name: str, idle_s: float, expected: list[str]) -> None:
    """Serve as the pool of that name, unless somebody does already, or we are not what it was named for."""
    code = code_on_disk()
    import_all()
    if name != key():
        sys.exit("this interpreter did not start as its caller did")
    place = Place(folder, name)
    listener = place.listen()
    if listener is None:
        return
    ctypes.CDLL(None).prctl(_SET_NAME, _NAME)
    sys.stdout.write(f"{STARTED}\n")
    _let_go_of_streams()
    # What is here stays here: a child that looked through it for garbage would copy it.
    gc.collect()
    gc.freeze()
    lending = lending_place(folder, name)
    life = start_lending(lending, Expected(*expected))
    try:
        serve(listener, code, idle_s, lending.path if life is not None else None)
    finally:
        place.leave(listener)


def import_all() -> None:
    """Import what commands import: all of ours, and what ours import late."""
    for module in pkgutil.walk_packages([str(_PACKAGE)], f"{_PACKAGE.name}."):
        if not module.name.startswith(_NEVER_BY_A_RUN):
            import_module(module.name)
    for name in _LATE:
        import_module(name)


def code_on_disk() -> object:
    """Return what changes with the code on the disk: every file of ours, and the folders that others lie in."""
    ours = sorted(path for path in _PACKAGE.rglob("*") if path.suffix not in {".pyc", ""})
    return tuple((path, found.st_ino, found.st_ctime_ns) for path, found in _looked_at([*ours, *map(Path, sys.path)]))


def _looked_at(paths: list[Path]) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in paths:
        with suppress(OSError):  # as a zip that was never there; one that appears is a change
            found.append((path, path.stat()))
    return found


def serve(listener: socket.socket, code: object, idle_s: float, cells: Path | None = None) -> None:
    """
    Fork for whoever calls, until nobody has for that long, or the code on the disk is another.

    ``cells``: where commands may borrow cells that stand ready.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        until = time.monotonic() + idle_s
        while True:
            busy = len(selector.get_map()) > 1
            ready = selector.select(None if busy else max(0.0, until - time.monotonic()))
            if not ready and not busy:
                return
            for found, _ in ready:
                if found.fileobj is not listener:
                    selector.unregister(found.fd)
                    if _has_served(found.fd):
                        until = time.monotonic() + idle_s
                elif code_on_disk() != code:
                    return
                else:
                    attendant = _attended(listener, cells)
                    if attendant is not None:
                        selector.register(attendant, selectors.EVENT_READ)


def _attended(listener: socket.socket, cells: Path | None) -> int | None:
    """Fork for one caller; returns the descriptor of the process that attends to it, or None: it is not for us."""
    try:
        connection, _ = listener.accept()
    except OSError:  # it has gone again
        return None
    with connection:
        if not _may_call(connection):
            return None
        assert len(os.listdir("/proc/self/task")) == 1, "a thread would be missing in the child"  # noqa: PTH208, S101
        pid = os.fork()
        if pid == 0:
            served = False
            try:
                served = attend(connection, cells)
            except BaseException:  # noqa: BLE001 - as an interpreter does it, and then the process ends
                traceback.print_exc()
            finally:
                os._exit(0 if served else 1)
        return os.pidfd_open(pid)


def _has_served(attendant: int) -> bool:
    """Take leave of an attendant that has ended; asking whether we are there is no call."""
    found = os.waitid(os.P_PIDFD, attendant, os.WEXITED)
    os.close(attendant)
    return found is not None and found.si_status == 0


def _may_call(connection: socket.socket) -> bool:
    pid, uid = peer_of(connection)
    try:
        return uid == os.geteuid() and standing(pid) == standing()
    except OSError:  # it has gone, or is more than we are
        return False


def _let_go_of_streams() -> None:
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)

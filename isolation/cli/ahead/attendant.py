"""
The pool's side of one command: two processes of its own, forked from the server and gone with it.

The first takes on what the caller is and forks the command; then it attends to it: passes on the caller's signals,
ends it when the caller goes away, however that goes, and tells the caller how it ended.
"""

from __future__ import annotations

import ctypes
import fcntl
import io
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

from isolation.cli.ahead.call import DECLINED, READY, Call, receive
from isolation.cli.boundary import flush, run
from isolation.errors import SettingsError
from isolation.settings import CELLS, load_settings

if TYPE_CHECKING:
    import socket
    from pathlib import Path

_CALLED_WITHIN_S = 5.0
_SET_PDEATHSIG = 1
"""prctl(2)"""
_FIRST_OF_OURS = 512
"""Descriptors of our own are put above those that callers use."""


def attend(connection: socket.socket, cells: Path | None) -> bool:
    """
    Carry out what the caller calls for; returns whether it called for anything. ``cells``: where it may borrow some.

    Runs in a process that is there for nothing else, and has one thread.
    """
    connection.settimeout(_CALLED_WITHIN_S)
    connection.sendall(READY)
    try:
        call, fds = receive(connection)
    except (EOFError, OSError):  # it has asked only whether we are there, or died
        return False
    connection.settimeout(None)
    connection = _take_descriptors(connection, call, fds)
    _take_on(call)
    if cells is not None:
        os.environ[CELLS] = str(cells)
    if not _is_wanted():
        connection.sendall(DECLINED)
        return False
    ours = os.getpid()
    pid = os.fork()
    if pid == 0:
        connection.close()
        _command(call, ours)
    _watch(connection, pid)
    return True


def _take_descriptors(connection: socket.socket, call: Call, fds: list[int]) -> socket.socket:
    """Have the caller's descriptors under the caller's numbers, its folder as ours, and nothing else but the caller."""
    above = max(_FIRST_OF_OURS, *call.descriptors) + 1
    here, *theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in fds]
    moved = type(connection)(fileno=fcntl.fcntl(connection.detach(), fcntl.F_DUPFD_CLOEXEC, above))
    os.closerange(0, above)
    for fd, number in zip(theirs, call.descriptors, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    os.fchdir(here)
    os.close(here)
    return moved


def _take_on(call: Call) -> None:
    """Be as the caller is: what a fork can be after it."""
    os.umask(call.umask)
    os.environ.clear()
    os.environ.update(call.environment)
    time.tzset()
    sys.argv[:] = [call.program, *call.arguments]
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in call.ignored else usual)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _opened(getattr(sys, name), descriptor)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _opened(before: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    """
    Open a standard stream as the interpreter does at its start: what is behind it is another now.

    The encoding was chosen by the same variables, and so was whether to buffer (PYTHONUNBUFFERED).
    """
    if number == 0:
        return io.TextIOWrapper(io.BufferedReader(io.FileIO(number, closefd=False)), before.encoding, before.errors)
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(
        cast("BinaryIO", raw) if before.write_through else io.BufferedWriter(raw),
        before.encoding,
        before.errors,
        line_buffering=not before.write_through and (number == 2 or raw.isatty()),  # noqa: PLR2004 - stderr
        write_through=before.write_through,
    )


def _is_wanted() -> bool:
    """Tell whether the caller's settings want a pool; a mistake in them is for the command to tell."""
    try:
        return load_settings().pool_s is not None
    except SettingsError:
        return True


def _command(call: Call, parent: int) -> NoReturn:
    """Do what ``main`` does."""
    os.setpgid(0, 0)
    # Nobody would end us when the caller goes away, if our attendant were gone.
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(flush(run(call.arguments)))


def _watch(connection: socket.socket, pid: int) -> None:
    """Stay until the command has ended."""
    with suppress(ProcessLookupError, PermissionError):  # whichever of us comes first: no signal may come before
        os.setpgid(pid, pid)
    os.chdir("/")
    os.closerange(0, connection.fileno())  # the caller's: whoever reads its output waits for the end of it
    ended = os.pidfd_open(pid)
    while True:
        ready, _, _ = select.select([ended, connection.fileno()], [], [])
        if ended in ready:
            break
        numbers = _received(connection)
        for number in numbers or (signal.SIGTERM, signal.SIGCONT):
            _send(pid, number)
        if not numbers:  # the caller is gone
            select.select([ended], [], [])
            break
    _, status = os.waitpid(pid, 0)
    with suppress(ConnectionError):
        connection.sendall(str(status).encode())


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(64)
    except ConnectionError:
        return b""


def _send(pid: int, number: int) -> None:
    """Send a signal on; what a terminal sends goes to the whole group, as it would have. It is not waited for yet."""
    if number == signal.SIGTSTP:
        os.killpg(pid, signal.SIGSTOP)  # a group that no shell watches does not stop by SIGTSTP
    elif number in {signal.SIGINT, signal.SIGCONT}:
        os.killpg(pid, number)
    else:
        os.kill(pid, number)

"""The caller's side: hands a command over to a pool, passes signals on, and ends as the command did."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from isolation.cli.ahead.call import DECLINED, READY, Call, can_go, connect, own_call, send
from isolation.cli.ahead.standing import folder, is_watched, key

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from types import FrameType

_READY_WITHIN_S = 0.5
"""Later than this, a command has long begun itself."""
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT)
_MIRRORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGPIPE)
"""What a command may die of; the rest would only leave a core of the wrong process."""

_DIED = 3
_DIED_HINT = "Something killed it, and the command with it; `isolation runs` shows what is recorded."


def hand_over() -> int | None:
    """Have this process's command carried out by a pool; returns its exit code, or None if nobody carried it out."""
    try:
        if is_watched():
            return None
        connection = connect(folder(), key(), _READY_WITHIN_S)
    except OSError:  # no /proc, or one that does not tell: then nobody can be sure who it is
        return None
    if connection is None:
        return None
    with connection:
        call = own_call()
        if not can_go(call) or not _is_ready(connection):
            return None
        ended = _carried_out(connection, call)
    return None if ended is None else _end_as(ended)


def _is_ready(connection: socket.socket) -> bool:
    try:
        ready = connection.recv(1) == READY
    except OSError:
        return False
    connection.settimeout(None)
    return ready


def _carried_out(connection: socket.socket, call: Call) -> int | None:
    """Return the command's wait status, or None if it was declined."""
    passed: list[int] = []
    with _passing_on(connection, call, passed):
        answer = b""
        with suppress(ConnectionError):
            while piece := connection.recv(64):
                answer += piece
    if answer == DECLINED:
        for number in passed:  # it was for us
            os.kill(os.getpid(), number)
        return None
    if not answer:
        from isolation.cli.boundary import tell  # noqa: PLC0415 - what handing over spares

        tell("the pool's process that attended to this command has ended", _DIED_HINT)
        return _DIED << 8
    return int(answer)


@contextmanager
def _passing_on(connection: socket.socket, call: Call, passed: list[int]) -> Iterator[None]:
    """Send the call, and then every signal that means the command; whoever ignores one goes on doing so."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        passed.append(number)
        with suppress(OSError):  # it is over
            connection.send(bytes([number]))
        if number == signal.SIGTSTP:  # the command stops, and so do we; the shell will send us SIGCONT
            os.kill(os.getpid(), signal.SIGSTOP)

    wanted = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)  # nothing may come into the middle of the call
    with suppress(ConnectionError):
        send(connection, call)
    before = {number: signal.signal(number, pass_on) for number in wanted}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_as(status: int) -> int:
    """Return the exit code, or die of what the command died of, so that a shell sees the same."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    if -code in _MIRRORED:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return 128 - code

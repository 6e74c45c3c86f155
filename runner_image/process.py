"""A step's process as its supervisor sees it: three pipes, a deadline, an end."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

import step as child
from contract import ANSWER, HEADER, RECORD, SMALL_FRAME_BYTES

if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Iterator

    Forget = Callable[[dict], dict[str, str]]

_ANSWER_FD = 3
_WRAPPING_BYTES = 100
"""What a record needs more on its way to the host, where its step is named."""
_DRAINS = 64
"""Reads that empty the largest pipe there is; who writes on after its step's end is not listened to for ever."""


class Process:
    """One try of one step. ``rubbish`` says what was wrong with what it sent, ``answer`` is what it answered."""

    def __init__(self, step: dict, number: int, pid: int, fds: tuple[int, int, int], answer_bytes: int) -> None:
        self.step, self.number, self.pid = step, number, pid
        self.stdout_fd, self.stderr_fd, self.answer_fd = fds
        self.fds = list(fds)
        self.started_s = time.monotonic()
        self.deadline_s = self.started_s + step["timeout_s"] if step["timeout_s"] else None
        self.timed_out = False
        self.answer: bytes | None = None
        self.too_large = False
        self.rubbish = ""
        self.status = 0
        self.cpu_s = 0.0
        self._answer_bytes = answer_bytes
        self._buffer = bytearray()

    @classmethod
    def start(
        cls, step: dict, number: int, *, values: dict, config: dict, answer_bytes: int, forget: Forget
    ) -> Process:
        """
        Fork a process for the step, with ``values`` to itself. Raises OSError where the kernel refuses one.

        ``forget`` is called in there, before anything of the recipe: it returns the step's secrets and forgets the
        rest.
        """
        pipes = [os.pipe() for _ in range(3)]
        try:
            pid = os.fork()
        except OSError:
            for pipe in pipes:
                os.close(pipe[0])
                os.close(pipe[1])
            raise
        if pid == 0:
            _become(step, values, config, pipes, forget)
        for read_fd, write_fd in pipes:
            os.close(write_fd)
            os.set_blocking(read_fd, False)
        return cls(step, number, pid, (pipes[0][0], pipes[1][0], pipes[2][0]), answer_bytes)

    def read(self, fd: int, most: int) -> bytes | None:
        """Read from one of the pipes; None at its end, when it is closed and forgotten."""
        try:
            content = os.read(fd, most)
        except BlockingIOError:
            return b""
        if not content:
            self.fds.remove(fd)
            os.close(fd)
            return None
        if fd == self.answer_fd and not (self.rubbish or self.too_large):
            self._buffer += content
        return content

    def rest(self, fd: int) -> Iterator[None]:
        """Come back for as long as a read would give something now, be it the end; bounded."""
        for _ in range(_DRAINS):
            if fd not in self.fds or not select.select([fd], [], [], 0)[0]:
                return
            yield

    def take_records(self) -> Iterator[bytes]:
        """Yield the log records that have arrived whole, and keep the answer."""
        while len(self._buffer) >= HEADER.size and not self.rubbish:
            kind, length = HEADER.unpack_from(self._buffer)
            most = {RECORD: SMALL_FRAME_BYTES - _WRAPPING_BYTES, ANSWER: self._answer_bytes}.get(kind, 0)
            if not most or self.answer is not None or (kind == RECORD and length > most):
                self.rubbish = "bytes that are no frame"
            elif length > most:
                self.too_large = True
                self._buffer.clear()
            elif len(self._buffer) >= HEADER.size + length:
                payload = bytes(self._buffer[HEADER.size : HEADER.size + length])
                del self._buffer[: HEADER.size + length]
                if kind == ANSWER:
                    self.answer = payload
                else:
                    yield payload
            else:
                return

    def exited(self, status: int, used: resource.struct_rusage) -> None:
        """Take in how the process itself ended, and kill those of its group that outlive it."""
        self.status = os.waitstatus_to_exitcode(status)
        self.cpu_s = used.ru_utime + used.ru_stime
        self.stop_group()

    def stop(self) -> None:
        """Kill the step for time."""
        self.timed_out = True
        self.deadline_s = None
        self.stop_group()
        os.kill(self.pid, signal.SIGKILL)

    def stop_group(self) -> None:
        """Kill what is left of the step's process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Close the pipes: whoever still writes to them gets EPIPE."""
        if self._buffer and not self.rubbish:
            self.rubbish = "an answer that was cut off"
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def _become(step: dict, values: dict, config: dict, pipes: list[tuple[int, int]], forget: Forget) -> None:
    """Turn the forked process into the step's own; never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what a Python program expects
        secrets = forget(step)
        os.dup2(pipes[0][1], 1)
        os.dup2(pipes[1][1], 2)
        os.dup2(pipes[2][1], _ANSWER_FD, inheritable=False)
        os.closerange(_ANSWER_FD + 1, 65536)
        code = child.live(step, values, config, secrets, _ANSWER_FD)
    except BaseException:  # noqa: BLE001 - a forked process must never return into its parent's loop
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)

"""
A step's process as its supervisor sees it: three pipes, a deadline, an end.

Most are forked when their step starts. One is forked ahead, while its cell stands idle, and told what it is later.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import json
import os
import select
import sys
import time

import step as child
from shared import seen

from isolation.contract import ANSWER, HEADER, RECORD, SMALL_FRAME_BYTES, TOLD, frame

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Iterator, MutableMapping

    Forget = Callable[[dict], dict[str, str]]

_ANSWER_FD = 3
_TOLD_FD = 4
_MOST_TOLD_BYTES = 32_768
"""What a pipe takes at once, with room to spare: nobody waits for a process that is slow to read."""
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
        cls, step: dict, number: int, *, values: MutableMapping, config: dict, answer_bytes: int, forget: Forget
    ) -> Process:
        """
        Fork a process for the step, with ``values`` to itself. Raises OSError where the kernel refuses one.

        ``forget`` is called in there, before anything of the recipe: it returns the step's secrets and forgets the
        rest.
        """
        child.find(step["module"])
        pipes = [os.pipe() for _ in range(3)]
        pid = _fork(pipes)
        if pid == 0:
            _live(pipes, lambda: forget(step), lambda secrets: (step, values, config, secrets))
        return cls(step, number, pid, _ours(pipes), answer_bytes)

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


class Spare:
    """A process that was forked ahead, has forgotten what a step may not know, and waits to be told its step."""

    def __init__(self, pid: int, fds: tuple[int, int, int], tell_fd: int) -> None:
        self.pid, self._fds, self._tell_fd = pid, fds, tell_fd

    @classmethod
    def fork(cls, forget: Callable[[], object]) -> Spare:
        """Fork it; ``forget`` is called in there. Raises OSError where the kernel refuses a process."""
        pipes = [os.pipe() for _ in range(3)]
        told, tell = os.pipe()
        try:
            pid = _fork(pipes)
        except OSError:
            os.close(told)
            os.close(tell)
            raise
        if pid == 0:
            _live(pipes, forget, _listen, told)
        os.close(told)
        return cls(pid, _ours(pipes), tell)

    def become(self, step: dict, number: int, *, snapshot: dict, config: dict, answer_bytes: int) -> Process | None:
        """Have it try a step; None where it is gone, or the step is one that is better forked: then it ends itself."""
        said = b"" if step["secrets"] else json.dumps((step, snapshot, config)).encode()
        if 0 < len(said) <= _MOST_TOLD_BYTES and self._tell(said):
            os.close(self._tell_fd)
            return Process(step, number, self.pid, self._fds, answer_bytes)
        self.dismiss()
        return None

    def dismiss(self) -> None:
        """Have it end, unused, and wait until it has: no step may see it go."""
        self._tell(b"")
        for fd in (*self._fds, self._tell_fd):
            os.close(fd)
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:  # it was gone, and has been taken in
            return

    def _tell(self, said: bytes) -> bool:
        try:
            os.write(self._tell_fd, frame(TOLD, said))
        except BrokenPipeError:
            return False
        return True


def _fork(pipes: list[tuple[int, int]]) -> int:
    try:
        return os.fork()
    except OSError:
        for pipe in pipes:
            os.close(pipe[0])
            os.close(pipe[1])
        raise


def _ours(pipes: list[tuple[int, int]]) -> tuple[int, int, int]:
    for read_fd, write_fd in pipes:
        os.close(write_fd)
        os.set_blocking(read_fd, False)
    return pipes[0][0], pipes[1][0], pipes[2][0]


def _listen(_: object) -> tuple[dict, MutableMapping, dict, dict]:
    """Wait for the step; who is told nothing ends. The pipe's end says nothing: others may have its other one, too."""
    with open(_TOLD_FD, "rb") as told:
        header = told.read(HEADER.size)
        said = told.read(HEADER.unpack(header)[1]) if header else b""
    if not said:
        os._exit(0)
    step, snapshot, config = json.loads(said)
    return step, seen(snapshot), config, {}


def _live(
    pipes: list[tuple[int, int]], forget: Callable[[], object], learn: Callable[[object], tuple], *told: int
) -> None:
    """Turn the forked process into a step's own, which it learns when all else is forgotten; never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what a Python program expects
        left = forget()
        ours = [os.dup(fd) for fd in (pipes[0][1], pipes[1][1], pipes[2][1], *told)]  # above all that they become
        for fd, own in zip(ours, (1, 2, _ANSWER_FD, _TOLD_FD), strict=False):
            os.dup2(fd, own, inheritable=own < _ANSWER_FD)
        os.closerange(_ANSWER_FD + 1 + len(told), 65536)
        step, values, config, secrets = learn(left)
        code = child.live(step, values, config, secrets, _ANSWER_FD)
    except BaseException:  # noqa: BLE001 - a forked process must never return into its parent's loop
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)

"""
A cell's first process, held by a pidfd: that it lives, and how it exited, without waiting for the engine.

When it ends, the kernel has killed and reaped all others of its pid namespace first (pid_namespaces(7)): nothing of
the cell lives any more then. An engine says so some twenty milliseconds later.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
from pathlib import Path

from isolation.sandbox.descriptor import Descriptor

_INFO = struct.Struct("=QQ44xi")
"""
``struct pidfd_info`` of linux/pidfd.h as it was first: mask, cgroup id, ids of process and user, exit status.

The kernel fills no more than is asked for by the size in the request.
"""
_GET_INFO = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11
_EXIT = 1 << 3
"""In the mask: the exit status is wanted, and after the call that it is there; Linux 6.15."""
_REAPED_WITHIN_S = 1.0
_KILLED_BY = 128


class FirstProcess:
    """The first process of a container. ``close`` it."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self._fd = fd

    @classmethod
    def of(cls, pid: int, container_id: str, proc: Path = Path("/proc")) -> FirstProcess | None:
        """Hold it; None where it is gone already, is not of that container, or this kernel has no pidfds."""
        try:
            fd = Descriptor(os.pidfd_open(pid))
        except OSError:
            return None
        try:
            ours = container_id in (proc / str(pid) / "cgroup").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            ours = False
        if not ours:  # looked at after it was opened: what is held now cannot become another process
            os.close(fd)
            return None
        return cls(pid, fd)

    def fileno(self) -> int:
        """Return the pidfd."""
        return self._fd

    @property
    def lives(self) -> bool:
        """Tell whether it has not ended yet."""
        return not self._is_over(0)

    def wait(self, timeout_s: float) -> int | None:
        """
        Return how it exited as a shell would say it, 128 and the signal's number for one that was killed.

        None: it has not ended in time, or this kernel does not tell others than its parent.
        """
        if not self._is_over(timeout_s):
            return None
        try:
            status = self._status()
            if status is None:
                self._await_reaped()
                status = self._status()
        except OSError:  # an older kernel; some of those say nothing of the reaping either, which one would wait for
            return None
        if status is None:
            return None
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else _KILLED_BY - code

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def _is_over(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def _await_reaped(self) -> None:
        """Wait until its parent has waited for it (POLLHUP): only then others may know how it exited."""
        poll = select.poll()
        poll.register(self._fd, 0)
        poll.poll(_REAPED_WITHIN_S * 1000)

    def _status(self) -> int | None:
        """Return what ``waitpid`` gives its parent; None: not yet. OSError where this kernel has no such call."""
        asked = bytearray(_INFO.pack(_EXIT, 0, 0))
        try:
            fcntl.ioctl(self._fd, _GET_INFO, asked)
        except ProcessLookupError:  # it is being reaped: the kernel looks for what is told of it first, for it then
            return None
        mask, _, status = _INFO.unpack(asked)
        return status if mask & _EXIT else None

"""Who runs a run: the process, named so that it can be told from any other that ever was on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """
    A process. ``boot`` names the kernel's boot and the pid namespace, ``started`` the process's start in clock ticks.

    Numbers of processes are given out again; with the other two they are unique. Both are empty where the system
    does not tell.
    """

    boot: str
    pid: int
    started: str

    def text(self) -> str:
        """Write it on one line, for a label or a file."""
        return f"{self.boot}|{self.pid}|{self.started}"

    @classmethod
    def read(cls, text: str) -> Owner | None:
        """
        Read what ``text`` wrote; None for anything else, such as a line that is not written yet.

        >>> owner = Owner(boot="b pid:[1]", pid=12, started="34")
        >>> Owner.read(owner.text()) == owner, Owner.read("")
        (True, None)
        """
        boot, _, rest = text.partition("|")
        pid, _, started = rest.partition("|")
        return cls(boot=boot, pid=int(pid), started=started) if boot and pid.isdigit() else None


def this_process() -> Owner:
    """Name the process that calls."""
    return Owner(boot=_boot(), pid=os.getpid(), started=_started(os.getpid()) or "")


def is_gone(owner: Owner) -> bool:
    """
    Tell whether the process has surely ended: the machine was started anew, or it is not there any more.

    False where that cannot be known, as for a process in another container.
    """
    boot, _, namespace = owner.boot.partition(" ")
    our_boot, _, our_namespace = _boot().partition(" ")
    if boot != our_boot:
        return True
    return namespace == our_namespace and not _is_running(owner)


def _is_running(owner: Owner) -> bool:
    if owner.started:
        return _started(owner.pid) == owner.started
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@cache
def _boot() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Return field 22 of proc_pid_stat(5); None if there is no such process, or it is dead and not yet waited for."""
    try:
        # The second field, the program's name, may hold anything, spaces and brackets included.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]

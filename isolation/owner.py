"""
Who runs a run: the process, named so that it can be told from any other that ever was, on this machine or another.

Machines may share a database, or an engine: of another machine's process nobody here can say that it has ended.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_MACHINE_SIGNS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """
    A process. ``started`` is its start in clock ticks; ``boot`` names kernel's boot, pid namespace and machine.

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
    return _named(os.getpid())


@cache
def _named(pid: int) -> Owner:
    return Owner(boot=_boot(), pid=pid, started=_started(pid) or "")


os.register_at_fork(after_in_child=_named.cache_clear)  # numbers are given out again, and it began later


def is_gone(owner: Owner) -> bool:
    """
    Tell whether the process has surely ended: this machine was started anew, or it is not there any more.

    False where that cannot be known, as for a process on another machine or in another container.
    """
    boot, namespace, machine = _parts(owner.boot)
    our_boot, our_namespace, our_machine = _parts(_boot())
    if boot != our_boot:
        return machine in {"", our_machine}  # without a machine it is an earlier release's, which knew only one
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
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()} {_machine()}"
    except OSError:
        return ""


def _parts(boot: str) -> tuple[str, str, str]:
    boot, _, rest = boot.partition(" ")
    namespace, _, machine = rest.partition(" ")
    return boot, namespace, machine


def _machine() -> str:
    """
    Name the machine by its id and its name: a copied disk has the same id, and two hosts may have the same name.

    Hashed, since the id itself is nobody else's business (machine-id(5)).
    """
    try:
        machine_id = _MACHINE_ID.read_text().strip()
    except OSError:
        machine_id = ""
    return hashlib.sha256(f"isolation {machine_id} {os.uname().nodename}".encode()).hexdigest()[:_MACHINE_SIGNS]


def _started(pid: int) -> str | None:
    """Return field 22 of proc_pid_stat(5); None if there is no such process, or it is dead and not yet waited for."""
    try:
        # The second field, the program's name, may hold anything, spaces and brackets included.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]

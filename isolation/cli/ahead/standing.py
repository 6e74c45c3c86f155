"""
Which pool may serve which command: one of the same code, the same user, and all that the kernel holds against it.

A command does what its caller may do, and is charged to whom its caller is charged to. So a pool serves only callers
of its own standing, and there is a pool for each. What a fork can take on (environment, folder, umask, descriptors,
ignored signals) is handed over instead; ``call`` has that.
"""

from __future__ import annotations

import os
import sys
from hashlib import blake2b

_STATUS = (
    *("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
    *("NoNewPrivs", "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass"),
    *("SigBlk", "Cpus_allowed", "Mems_allowed"),
)
"""proc_pid_status(5): who it is, what it may do, where it runs."""
_TEXTS = ("cgroup", "limits", "attr/current", "oom_score_adj")
_NICE = 16
"""Where proc_pid_stat(5) has it, counted from after the program's name; two before it is the priority."""
_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_")
"""Beginnings of what an interpreter reads once, when it starts."""
_DIGEST_BYTES = 12


def standing(pid: int | None = None) -> str:
    """Describe what the kernel allows a process, and charges for it. Raises OSError where we may not look."""
    home = f"/proc/{pid or 'self'}"
    status = (line.partition(":") for line in _text(f"{home}/status").splitlines())
    found = [f"{name}{value}" for name, _, value in status if name in _STATUS]
    found += [_text_or_nothing(f"{home}/{name}") for name in _TEXTS]
    # Without pathlib here and below, which is slow to import: every command comes by.
    links = [f"{home}/root", *(f"{home}/ns/{name}" for name in sorted(os.listdir(f"{home}/ns")))]  # noqa: PTH208
    found += [os.readlink(link) for link in links]  # noqa: PTH115
    found += _text(f"{home}/stat").rpartition(")")[2].split()[_NICE - 1 : _NICE + 1]
    return "\n".join(found)


def key() -> str:
    """Name the pool that may serve this process: the same for the same interpreter, code, start and standing."""
    # Options of the interpreter that are no flags (-X) a pool is not started with; they are asked for when debugging.
    code = [sys.executable, sys.version, __file__, *sys.path, str(sys.flags), *sys.warnoptions]
    text = "\0".join([*code, *(f"{name}={value}" for name, value in sorted(at_start().items())), standing()])
    return blake2b(os.fsencode(text), digest_size=_DIGEST_BYTES).hexdigest()


def at_start() -> dict[str, str]:
    """
    Return what the environment said to this interpreter when it started: all that a pool is started with.

    As the kernel tells it: in a plain C locale, an interpreter sets another for those that it starts itself (PEP 538).
    """
    found = (line.partition("=") for line in _text("/proc/self/environ").split("\0"))
    return {name: value for name, _, value in found if name.startswith(_AT_START)}


def is_watched() -> bool:
    """Tell whether somebody follows this very process, by a tracer or a library put before ours."""
    tracer = _text("/proc/self/status").partition("\nTracerPid:")[2].split(maxsplit=1)[:1]
    return tracer != ["0"] or bool(os.environ.get("LD_PRELOAD"))


def folder() -> str:
    """Return where this user's pools listen: gone after a reboot, as they are."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    uid = os.geteuid()
    if given and _is_of(given, uid):  # with `sudo -E` it is somebody else's
        return f"{given}/isolation/pool"
    return "/run/isolation/pool" if uid == 0 else f"/tmp/isolation-{uid}/isolation/pool"  # noqa: S108 - both ends ask the kernel who the other is


def _is_of(path: str, uid: int) -> bool:
    try:
        return os.stat(path).st_uid == uid  # noqa: PTH116 - as above
    except OSError:
        return False


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - as above
        return file.read()


def _text_or_nothing(path: str) -> str:
    """Return nothing where there is none: what a security module says depends on which there is."""
    try:
        return _text(path)
    except OSError:
        return ""

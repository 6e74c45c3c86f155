"""
What the runner sees of its own confinement, said once in its greeting, before a byte of the recipe is here.

The host compares it with what the policy asks and with its own view of the same process. Texts of /proc go as they
are: one reader, the host's, takes both apart.
"""

from __future__ import annotations

import errno
import os
import resource
import time

from calls import function

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TEXTS = ("status", "mountinfo", "cgroup", "net/dev", "oom_score_adj", "attr/current")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
"""Named, since a process that hides may follow these links of its own and not list them."""
_RLIMITS = {
    "core": resource.RLIMIT_CORE,
    "fsize": resource.RLIMIT_FSIZE,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rtprio": resource.RLIMIT_RTPRIO,
    "sigpending": resource.RLIMIT_SIGPENDING,
}
_FOLDERS = ("/dev", "/proc", "/sys", "/sys/devices/virtual")
_TEXT_CHARS = 32_768

_SOCKET = {"x86_64": 41, "aarch64": 198}
_CALLS = {
    "socket(AF_ALG)": (_SOCKET, (38, 5, 0)),
    "socket(AF_VSOCK)": (_SOCKET, (40, 1, 0)),
    "socket(AF_NETLINK)": (_SOCKET, (16, 3, 0)),
    "io_uring_setup": ({"x86_64": 425, "aarch64": 425}, (0, 0)),
    "keyctl": ({"x86_64": 250, "aarch64": 219}, (0, 0, 0)),
    "ptrace": ({"x86_64": 101, "aarch64": 117}, (1, 0, 0, 0)),
    "syncfs": ({"x86_64": 306, "aarch64": 267}, (-1,)),
    "clone3": ({"x86_64": 435, "aarch64": 435}, (0, 0)),
    "personality": ({"x86_64": 135, "aarch64": 92}, (0xFFFFFFFF,)),
}
"""
Calls that a kernel would answer otherwise than our filter does, with arguments that can do nothing: their numbers by
architecture, and what they are given.
"""


def look() -> dict:
    """Look around: everything that a process can tell of its own confinement; its clock before and after."""
    began = time.time()
    return {
        "texts": {name: text for name in _TEXTS if (text := _read(f"/proc/self/{name}")) is not None},
        "namespaces": _links("/proc/self/ns", _NAMESPACES),
        "descriptors": _links("/proc/self/fd", _list("/proc/self/fd")),
        "folders": {path: _list(path) for path in _FOLDERS},
        "environment": dict(os.environ),
        "rlimits": {name: [_limit(value) for value in resource.getrlimit(number)] for name, number in _RLIMITS.items()},
        "calls": _try_calls(),
        "time_zone": _time_zone(),
        "clock": [began, time.time()],
    }


def _time_zone() -> str:
    """Name the time zone, or nothing where the system does not know it: times would silently be UTC then, tzset(3)."""
    name = os.environ.get("TZ", "")
    return name if os.path.isfile(f"/usr/share/zoneinfo/{name}") else ""


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(_TEXT_CHARS)
    except OSError:
        return None


def _links(folder: str, names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = os.readlink(f"{folder}/{name}")
        except OSError:  # the descriptor by which the folder itself was read
            continue
    return found


def _list(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if path != "/proc" or not name.isdecimal())
    except OSError:
        return []


def _try_calls() -> dict[str, str]:
    machine = os.uname().machine
    syscall = function("syscall")
    return {
        name: _answer(syscall, numbers[machine], arguments)
        for name, (numbers, arguments) in _CALLS.items()
        if machine in numbers
    }


def _answer(syscall: Callable[..., tuple[int, int]], number: int, arguments: tuple[int, ...]) -> str:
    result, code = syscall(number, *arguments)
    if result >= 0:
        return "answered"
    return errno.errorcode.get(code, str(code))

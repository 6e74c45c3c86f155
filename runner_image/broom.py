"""
What a run leaves in its cell, taken away: its processes always, its files where the cell stays for another run.

The host looks for itself whether all of it is gone, and removes a cell where it is not.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os
import stat

_FOLDERS = ("/tmp", "/scratch")  # noqa: S108 - the container's own
_SHARED = "/dev/shm"  # noqa: S108 - as above; there where the policy gives it
_IPC = ("shm", "sem", "msg")


def kill_all_others() -> None:
    """
    Kill every process of this container but ourselves, and see that all are gone: one that dies still writes.

    kill(2): pid -1 spares the caller. Whoever loses its parent becomes our child, so none is overlooked.
    """
    try:
        while True:
            os.kill(-1, signal.SIGKILL)
            os.wait()
    except (ProcessLookupError, ChildProcessError):
        return


def clean() -> None:
    """Remove every file of a run; ends this process, and so the cell, where something of it stays in the kernel."""
    if any(map(_holds, _IPC)):
        raise SystemExit("a run left something in the kernel's memory that others of the cell would find")
    for folder in _FOLDERS:
        os.chmod(folder, 0o700)
        for name in os.listdir(folder):
            _remove(f"{folder}/{name}")


def leaves_nothing() -> bool:
    """
    Tell whether nothing lies where steps could find what others left: no file, and nothing in the kernel's memory.

    Listed, not counted: gVisor counts no inodes, and a file may be empty. What cannot be listed counts as there.
    """
    try:
        if any(map(os.listdir, _FOLDERS)) or (os.path.isdir(_SHARED) and os.listdir(_SHARED)):
            return False
    except OSError:
        return False
    return not (os.path.isdir("/proc/sysvipc") and any(map(_holds, _IPC)))  # not there: not in that kernel


def _holds(kind: str) -> bool:
    with open(f"/proc/sysvipc/{kind}", encoding="ascii") as file:  # svipc(7): these outlive their processes
        return len(file.readlines()) > 1


def _remove(path: str) -> None:
    """Remove a file, or a folder and all that is in it, however deep and whatever its mode; follows no link."""
    pending = [path]
    while pending:
        top = pending[-1]
        if not stat.S_ISDIR(os.lstat(top).st_mode):
            os.unlink(pending.pop())
            continue
        os.chmod(top, 0o700)
        found = os.listdir(top)
        if found:
            pending += [f"{top}/{name}" for name in found]
        else:
            os.rmdir(pending.pop())

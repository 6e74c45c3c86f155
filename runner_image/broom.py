"""
What a run leaves in its cell, taken away: its processes always, its files where the cell stays for another run.

The host looks for itself whether all of it is gone, and removes a cell where it is not.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os
import stat

_FOLDERS = ("/tmp", "/scratch")  # noqa: S108 - the container's own
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
    for name in _IPC:  # svipc(7): these outlive their processes
        with open(f"/proc/sysvipc/{name}", encoding="ascii") as file:
            if len(file.readlines()) > 1:
                raise SystemExit("a run left something in the kernel's memory that others of the cell would find")
    for folder in _FOLDERS:
        os.chmod(folder, 0o700)
        for name in os.listdir(folder):
            _remove(f"{folder}/{name}")


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

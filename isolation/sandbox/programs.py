"""Programs of this host that tell what they are: the runtimes that an engine starts containers with."""

from __future__ import annotations

import re
import subprocess
from functools import lru_cache
from pathlib import Path

_ANSWERS_WITHIN_S = 10.0
_TOLD = re.compile(r"(\w+) version (\S+)")


def identity_of(path: str) -> str:
    """
    Have a program tell its name and version, such as ``crun 1.8.1``; empty where it does not.

    It is asked once for as long as its file is the same.
    """
    try:
        file = Path(path).stat()
    except OSError:
        return ""
    return _asked(path, file.st_dev, file.st_ino, file.st_mtime_ns)


@lru_cache(maxsize=16)
def _asked(path: str, *_file: int) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_ANSWERS_WITHIN_S,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    told = _TOLD.match(done.stdout) if done.returncode == 0 else None
    return f"{told[1]} {told[2]}" if told else ""

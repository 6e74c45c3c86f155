"""
What is written under a name of its own until it is whole, and only then given the name that others look for.

It is locked, flock(2), as long as somebody writes it: so that what a killed process left can be told from what a living
one is at, in whichever container of this machine that is.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isolation.state.folders import make_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def new_file(folder: Path, prefix: str) -> tuple[int, Path]:
    """Make a file to be written, for this user alone; locked until its descriptor is closed. Raises OSError."""
    make_private(folder)
    while True:
        path = folder / f"{prefix}{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        if _is_ours(descriptor):
            return descriptor, path
        os.close(descriptor)


@contextmanager
def new_folder(folder: Path, prefix: str) -> Iterator[Path]:
    """Make a folder to be filled; what was not renamed at the end of the block is removed. Raises OSError."""
    make_private(folder)
    path = folder / f"{prefix}{secrets.token_hex(8)}"
    path.mkdir(mode=0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _is_ours(descriptor):
            path.mkdir(mode=0o700, exist_ok=True)  # swept away before it was locked, and no second time
        yield path
    finally:
        os.close(descriptor)
        discard(path)


def sweep(paths: Iterable[Path]) -> int:
    """Remove those that nobody writes any more, and tell how many that were. Raises OSError."""
    swept = 0
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # whole by now
            continue
        try:
            if _is_ours(descriptor):
                discard(path)
                swept += 1
        finally:
            os.close(descriptor)
    return swept


def discard(path: Path) -> None:
    """Remove a file, or a folder that may be read-only, if it is there. Raises OSError."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for parent, _, _ in os.walk(path):
        os.chmod(parent, 0o700)  # noqa: PTH101 - a plain string
    shutil.rmtree(path, ignore_errors=True)


def _is_ours(descriptor: int) -> bool:
    """Lock what is there; False where somebody else has it, or it is there no more."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0

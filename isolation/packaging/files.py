"""The only module that opens files that other people wrote: regular ones, up to a cap, never out of their folder."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from isolation.errors import FileError, RecipeError
from isolation.units import format_bytes

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""O_NONBLOCK: a FIFO under a file's name would else hold us until somebody writes (open(2))."""
_FOR_OTHERS = 0o077
_READABLE = "Check that it is a file that this user may read."


def read_regular(path: Path, limit_bytes: int, error: type[FileError] = RecipeError) -> bytes:
    """
    Read a file once, through one descriptor, so that what was checked is what was read.

    Raises ``error`` for anything that is no regular file, larger than ``limit_bytes``, or not readable.
    """
    with _open(path, _FLAGS, error) as file:
        return _read(file, path, limit_bytes, error)


def read_private(path: Path, limit_bytes: int, error: type[FileError] = RecipeError) -> bytes:
    """Read like ``read_regular`` a file that is open to its owner alone, and no symbolic link to one."""
    with _open(path, _FLAGS | os.O_NOFOLLOW, error) as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _FOR_OTHERS:
            raise error("others than its owner can open this file", hint=f"Close it: chmod 600 {path}", path=path)
        return _read(file, path, limit_bytes, error)


def _open(path: Path, flags: int, error: type[FileError]) -> BufferedReader:
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as cause:
        raise error("there is no such file", hint="Check its name, and that of its folder.", path=path) from cause
    except (OSError, ValueError) as cause:
        if flags & os.O_NOFOLLOW and getattr(cause, "errno", None) == errno.ELOOP:
            raise error("this is a symbolic link", hint="Name the file that it leads to.", path=path) from cause
        raise error(f"the file cannot be opened: {_reason(cause)}", hint=_READABLE, path=path) from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # first: nobody else closes the descriptor of a folder
        os.close(descriptor)
        raise error(
            "this is not a regular file", hint="Name a plain file: no folder, pipe, socket or device.", path=path
        )
    return os.fdopen(descriptor, "rb")


def _read(file: BufferedReader, path: Path, limit_bytes: int, error: type[FileError]) -> bytes:
    try:
        content = file.read(limit_bytes + 1)
    except OSError as cause:
        raise error(f"the file cannot be read: {_reason(cause)}", hint=_READABLE, path=path) from cause
    if len(content) > limit_bytes:
        raise error(
            f"the file is larger than {format_bytes(limit_bytes)}",
            hint="Make it smaller, or check that it is the one that you mean.",
            path=path,
        )
    return content


def is_regular_below(folder: Path, relative: str, error: type[FileError] = RecipeError) -> bool:
    """
    Tell whether ``relative`` names a regular file below ``folder``, itself already resolved.

    Raises ``error`` if it does, but a symbolic link on the way leads out of the folder.
    """
    path = folder / relative
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        resolved = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return False
    if not resolved.is_relative_to(folder):
        raise error(
            f"{relative!r} is a symbolic link that leads out of {folder.name!r}",
            hint="Copy the file into the folder.",
            path=path,
        )
    return True


def _reason(cause: Exception) -> str:
    return cause.strerror or str(cause) if isinstance(cause, OSError) else str(cause)

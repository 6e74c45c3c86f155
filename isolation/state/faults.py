"""
The only module that knows what a full disk, a read-only mount or a locked database looks like from inside.

Knows SQLite's errors by their code alone, so that importing it costs nothing: neither SQLAlchemy nor sqlite3.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isolation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ELSEWHERE = "choose another folder with --state"
_FULL = ("is full", f"Free some space there (`isolation clean` removes what old runs left), or {_ELSEWHERE}.")
_READ_ONLY = ("is read-only", f"Mount it writable, or {_ELSEWHERE}.")
_FORBIDDEN = ("may not be used by this user", f"Give this user the right to read and write it, or {_ELSEWHERE}.")
_MISSING = ("is not there, or not a folder", f"Create it, or {_ELSEWHERE}.")
_FILE = ("is a file, and no folder", "Choose another folder with --state.")
_BROKEN = (
    "lies on a disk that reports errors",
    f"See the kernel's log (`dmesg`), copy what can be read, and {_ELSEWHERE}.",
)
_BUSY = (
    "is busy: another process has held its database for too long",
    "Try again; if it stays so, look for a stopped `isolation` process.",
)
_DAMAGED = ("holds a database that is damaged", f"Put back a copy of it, or {_ELSEWHERE}.")

_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
    errno.EEXIST: _FILE,
    errno.EIO: _BROKEN,
}
# Primary result codes, https://www.sqlite.org/rescode.html
_SQLITE_IOERR, _SQLITE_CANTOPEN = 10, 14
_BY_SQLITE_CODE = {
    3: _FORBIDDEN,
    5: _BUSY,
    6: _BUSY,
    8: _READ_ONLY,
    _SQLITE_IOERR: _BROKEN,
    11: _DAMAGED,
    13: _FULL,
    26: _DAMAGED,
}


@contextmanager
def storage_faults(folder: Path) -> Iterator[None]:
    """Turn what the system or SQLite says against the state folder into a StorageError that people can act on."""
    try:
        yield
    except Exception as error:
        fault = fault_of(error, folder)
        if fault is None:
            raise
        raise fault from error


def fault_of(error: BaseException, folder: Path) -> StorageError | None:
    """Say for people what an error of the system or of SQLite means; None if it is of neither."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _sqlite_fault(error, code & 0xFF, folder)
    if isinstance(error, OSError):
        what, hint = _BY_ERRNO.get(
            error.errno or 0, (f"cannot be used: {error.strerror or error}", f"Look into it, or {_ELSEWHERE}.")
        )
        return StorageError(f"the state folder {folder} {what}", hint=hint)
    return None


def _sqlite_fault(error: BaseException, code: int, folder: Path) -> StorageError:
    """SQLite says "I/O error" or "cannot open" of a full or forbidden folder too: those two are looked into."""
    what, hint = _BY_SQLITE_CODE.get(code, (f"holds a database that refuses us: {error}", f"C{_ELSEWHERE[1:]}."))
    if code in {_SQLITE_IOERR, _SQLITE_CANTOPEN}:
        what, hint = _cause_in(folder) or (what, hint)
    return StorageError(f"the state folder {folder} {what}", hint=hint)


def _cause_in(folder: Path) -> tuple[str, str] | None:
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return _BY_ERRNO.get(error.errno or 0)
    if disk.f_bavail == 0 or (disk.f_files and disk.f_favail == 0):
        return _FULL
    if disk.f_flag & os.ST_RDONLY:
        return _READ_ONLY
    return None if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else _FORBIDDEN

"""The small files of a control group, read; None or nothing where the kernel lacks one, or the group is gone."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from isolation.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BYTES = 65_536
_KEYED = re.compile(rb"^(\S+) (\d+)$", re.MULTILINE)
_BUSY_FOR_S = 2.0
"""How long the kernel may need to let go of a dead container's group."""


class Folder:
    """
    The files of one group, by name; ``hold`` has them stay open, since opening is most of what a reading costs.

    Not `cgroup.procs`: on v1 a file that is open may tell what was true a second ago (kernel/cgroup/cgroup-v1.c).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[str, int] | None = None

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self._path,)  # in another process nothing is open

    def hold(self) -> None:
        """Have each file stay open from its next reading on, until ``close``."""
        self._held = self._held or {}

    def close(self) -> None:
        """Close what is open."""
        held, self._held = self._held or {}, None
        for fd in held.values():
            os.close(fd)

    def read(self, name: str) -> bytes:
        """Read all of a file; nothing where the kernel lacks it, or the group is gone."""
        if self._held is None:
            return read(self._path / name)
        try:
            if name not in self._held:
                self._held[name] = _open(self._path / name)
            return os.pread(self._held[name], _MOST_BYTES, 0)  # all at once: the kernel writes each anew, and whole
        except OSError:
            return b""

    def number(self, name: str) -> int | None:
        """Read a single number; None for none, or for "max"."""
        return _number(self.read(name))

    def keyed(self, name: str) -> dict[str, int]:
        """Read lines of a name and a number."""
        return {key.decode(): int(value) for key, value in _KEYED.findall(self.read(name))}


def read(path: Path) -> bytes:
    """Read all; nothing where the kernel lacks the file, or the group is gone."""
    try:
        fd = _open(path)
    except OSError:
        return b""
    try:
        found = piece = os.read(fd, _MOST_BYTES)
        while piece:
            piece = os.read(fd, _MOST_BYTES)
            found += piece
    except OSError:  # it went while we read
        return b""
    finally:
        os.close(fd)
    return found


def write(path: Path, value: object) -> None:
    """Write a file's new value. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)  # as above
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


def words(content: bytes) -> Iterator[list[str]]:
    """Yield the words of each line."""
    yield from (line.split() for line in content.decode(errors="replace").splitlines())


def lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line of a file."""
    yield from words(read(path))


def number(path: Path) -> int | None:
    """Read a single number; None for none, or for "max"."""
    return _number(read(path))


def scaled(value: int | None, factor: float) -> float | None:
    """Turn a count into a figure of another unit."""
    return None if value is None else value * factor


def remove(folder: Path) -> None:
    """Remove a group that nothing lives in any more. Raises EngineError where something does."""
    until_s = time.monotonic() + _BUSY_FOR_S
    while True:
        try:
            remove_empty(folder)
        except OSError as error:
            if time.monotonic() >= until_s:
                hint = "Its container was removed, its processes were not; see the engine's log."
                raise EngineError(f"the group {folder} cannot be removed: {error.strerror}", hint=hint) from error
            time.sleep(0.01)
        else:
            return


def remove_empty(folder: Path) -> None:
    """
    Remove a group and those in it: an engine whose runtime failed leaves a container's own group.

    Raises OSError where one holds a process: the kernel removes no such group.
    """
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(FileNotFoundError):  # the engine was first
            Path(path).rmdir()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _number(content: bytes) -> int | None:
    first = content.split(maxsplit=1)[:1]
    return int(first[0]) if first and first[0].isdigit() else None

"""The small files of a control group, read; None or nothing where the kernel lacks one, or the group is gone."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BYTES = 65_536
_BUSY_FOR_S = 2.0
"""How long the kernel may need to let go of a dead container's group."""


def read(path: Path) -> bytes:
    """Read all; nothing where the kernel lacks the file, or the group is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a run has its counters read often: this is the cheapest way
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


def lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line."""
    yield from (line.split() for line in read(path).decode(errors="replace").splitlines())


def keyed(path: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    pairs = (words for words in lines(path) if len(words) == len(("key", "value")))
    return {key: int(value) for key, value in pairs if value.isdecimal()}


def number(path: Path) -> int | None:
    """Read a single number; None for none, or for "max"."""
    first = read(path).split(maxsplit=1)[:1]
    return int(first[0]) if first and first[0].isdigit() else None


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

"""
What the server decided, one JSON object a line, for ever: who asked for what, when and from where, and what was said.

::

    <state>/audit/<day>.jsonl    {"at", "who", "token_id", "permission", "namespace", "what", "address", "allowed"}

A line is in the system's hands when the answer goes out; after a power cut the newest may be missing. What was written
to the context, and what became of each run, is in the database in any case.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from isolation.clock import timestamp
from isolation.state.faults import storage_faults
from isolation.state.folders import make_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.clock import Clock

_BLOCK_BYTES = 65_536
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """
    One decision. ``who`` is the token's name, empty for whoever had none that counts.

    ``what`` is the request: method and path; ``address`` where it came from.
    """

    at: str
    who: str
    token_id: str
    permission: str
    namespace: str
    what: str
    address: str
    allowed: bool


class Audit:
    """The audit log of one state folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._day = ""
        self._file = -1

    def record(
        self, *, who: str, token_id: str, permission: str, namespace: str, what: str, address: str, allowed: bool
    ) -> None:
        """Write one decision down. StorageError where that cannot be: then nothing may be done either."""
        at = timestamp(self._clock.now())
        decision = {
            "at": at,
            "who": who,
            "token_id": token_id,
            "permission": permission,
            "namespace": namespace,
            "what": what,
            "address": address,
            "allowed": allowed,
        }
        line = _ENCODER.encode(decision) + "\n"
        with storage_faults(self._folder), self._lock:
            os.write(self._of_day(at[:10]), line.encode())

    def newest(self, limit: int, wanted: Callable[[Decision], bool] = lambda _: True) -> tuple[Decision, ...]:
        """Return at most ``limit`` of the decisions that are wanted, the newest first."""
        return tuple(islice(filter(wanted, self._backwards()), limit))

    def close(self) -> None:
        """Close the file of the day."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _of_day(self, day: str) -> int:
        if day != self._day or self._file < 0:
            make_private(self._folder)
            if self._file >= 0:
                os.close(self._file)
            flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC
            self._file = os.open(self._folder / f"{day}.jsonl", flags, 0o600)
            self._day = day
        return self._file

    def _backwards(self) -> Iterator[Decision]:
        with storage_faults(self._folder):
            for path in sorted(self._folder.glob("*.jsonl"), reverse=True):
                with path.open("rb") as file:
                    for line in _backwards(file):
                        yield Decision(**json.loads(line))


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """Yield the whole lines of a file, the last first, in memory that does not grow with it."""
    at, rest = file.seek(0, os.SEEK_END), b""
    while at > 0:
        start = max(0, at - _BLOCK_BYTES)
        file.seek(start)
        first, *lines = (file.read(at - start) + rest).split(b"\n")
        yield from (line for line in reversed(lines) if line)
        at, rest = start, first
    if rest:
        yield rest

"""What was decided, kept with the run: the first so many in full, the rest as numbers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.model.traffic import Decision, Traffic

if TYPE_CHECKING:
    from isolation.clock import Clock
    from isolation.model.traffic import Via

MOST_KEPT = 256
_LONGEST_WHY = 300


@dataclass(eq=False)
class Line:
    """One decision while its connection lives. Its own thread alone writes it; only the log counts its bytes."""

    at: str
    since_s: float
    via: Via
    host: str
    port: int
    allowed: bool = False
    why: str = ""
    address: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0
    wall_s: float | None = None

    def decision(self) -> Decision:
        """Return what it says now."""
        return Decision(
            at=self.at,
            via=self.via,
            host=self.host,
            port=self.port,
            allowed=self.allowed,
            why=self.why[:_LONGEST_WHY],
            address=self.address,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            wall_s=self.wall_s,
        )


class Log:
    """The decisions of one cell, in the order of its requests. Safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: list[Line] = []
        self._left_out = 0
        self._sent = 0
        self._received = 0

    def begin(self, via: Via, host: str, port: int) -> Line:
        """Begin a line; one beyond those that are kept is counted, and so are its bytes."""
        line = Line(timestamp(self._clock.now()), self._clock.monotonic_s(), via, host, port)
        with self._lock:
            if len(self._kept) < MOST_KEPT:
                self._kept.append(line)
            else:
                self._left_out += 1
        return line

    def end(self, line: Line) -> None:
        """Say that a line's connection is over."""
        line.wall_s = self._clock.monotonic_s() - line.since_s

    def count(self, line: Line, *, sent: int = 0, received: int = 0) -> None:
        """Count bytes that have gone to, or have come from, the address of a line."""
        with self._lock:
            line.bytes_sent += sent
            line.bytes_received += received
            self._sent += sent
            self._received += received

    def traffic(self) -> Traffic:
        """Return all of it, as it is now."""
        with self._lock:
            return Traffic(
                decisions=tuple(line.decision() for line in self._kept),
                left_out=self._left_out,
                bytes_sent=self._sent,
                bytes_received=self._received,
            )

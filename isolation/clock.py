"""The only module that reads clocks. Deadlines use the monotonic one, records the wall clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that never jumps, one that people read."""

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary moment; never goes back."""

    def now(self) -> datetime:
        """Return the wall clock's time in UTC."""


@dataclass(frozen=True)
class SystemClock:
    """The clocks of this machine."""

    def monotonic_s(self) -> float:
        """Return seconds of ``CLOCK_MONOTONIC``."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(tz=UTC)


def timestamp(moment: datetime) -> str:
    """
    Write a moment as RFC 3339 text in UTC with milliseconds.

    >>> timestamp(datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    '2025-01-02T03:04:05.678Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""The bill of an attempt: how long each phase took."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.clock import Clock


class Stopwatch:
    """Adds up milliseconds by phase, and tells a listener when one starts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.on_phase: Callable[[str], object] = lambda _: None
        self.phases_ms: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase, also one that fails."""
        self.on_phase(name)
        started_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            spent_ms = (self._clock.monotonic_s() - started_s) * 1000
            self.phases_ms[name] = round(self.phases_ms.get(name, 0.0) + spent_ms, 3)

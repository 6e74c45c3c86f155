"""The bill of an attempt: when each phase began, and how long it took."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.clock import Clock


class Stopwatch:
    """
    Adds up milliseconds by phase, and tells a listener when one starts.

    ``phases_at_ms`` has when each began for the first time, counted from ``began_s`` (monotonic), which is when the
    watch was made: phases that go on beside each other are seen to.
    """

    def __init__(self, clock: Clock, began_s: float | None = None) -> None:
        self._clock = clock
        self.began_s = clock.monotonic_s() if began_s is None else began_s
        self.on_phase: Callable[[str], object] = lambda _: None
        self.phases_ms: dict[str, float] = {}
        self.phases_at_ms: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str, since_s: float | None = None) -> Iterator[None]:
        """Time a phase, also one that fails; from an earlier moment (monotonic) where it began before it was known."""
        self.on_phase(name)
        started_s = self._clock.monotonic_s() if since_s is None else since_s
        self.phases_at_ms.setdefault(name, round((started_s - self.began_s) * 1000, 3))
        try:
            yield
        finally:
            self.add(name, self._clock.monotonic_s() - started_s)

    def waited(self, name: str, spent_s: float) -> None:
        """Take in what went on before the watch was made, up to then."""
        self.phases_at_ms[name] = round(-spent_s * 1000, 3)
        self.add(name, spent_s)

    def add(self, name: str, spent_s: float) -> None:
        """Add to a phase what somebody else measured."""
        self.phases_ms[name] = round(self.phases_ms.get(name, 0.0) + spent_s * 1000, 3)

    def aside(self) -> Stopwatch:
        """Make a watch for what another thread does meanwhile; ``take_in`` has its phases, once it is done."""
        return Stopwatch(self._clock, self.began_s)

    def take_in(self, aside: Stopwatch) -> None:
        """Take over the phases of a watch aside."""
        self.phases_ms |= aside.phases_ms
        self.phases_at_ms |= aside.phases_at_ms

"""What an attempt's bill comes to: how much of it is the recipe's, and how much is ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isolation.model.run import Attempt

QUEUE = "queue"
"""The one phase that lies before the work on an attempt begins; it is nobody's work."""


@dataclass(frozen=True, slots=True)
class Share:
    """
    How an attempt's time is shared, in milliseconds.

    ``whole_ms`` goes from the beginning of the work on it to the end of its last phase. ``steps_ms`` is the part of it
    in which one step at least was under way, in its last try; all else is ours.
    """

    whole_ms: float
    steps_ms: float

    @property
    def ours_ms(self) -> float:
        """Return what is not the recipe's."""
        return self.whole_ms - self.steps_ms


def share(attempt: Attempt) -> Share | None:
    """Share out an attempt's time; None where its record does not tell when phases and steps began."""
    ends = [at_ms + attempt.phases_ms.get(name, 0.0) for name, at_ms in attempt.phases_at_ms.items() if name != QUEUE]
    ran = [(step.began_s, step.wall_s) for step in attempt.steps if step.wall_s is not None]
    spans = [(began_s * 1000, (began_s + wall_s) * 1000) for began_s, wall_s in ran if began_s is not None]
    if not ends or len(spans) < len(ran):
        return None
    whole_ms = max(ends)
    return Share(whole_ms, min(whole_ms, covered(spans)))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """
    Measure what is covered by spans, each from a moment to another; where several lie upon each other it counts once.

    >>> covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total

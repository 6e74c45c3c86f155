"""How far the attempt of a run has come, while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isolation.model.outcome import StepOutcome
    from isolation.model.usage import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class StepProgress:
    """
    How far a step has come: not begun as long as ``began_s`` and ``outcome`` are not there, ended where ``outcome`` is.

    Seconds count from the beginning of the attempt. ``reason`` is that of a step's report.
    """

    name: str
    began_s: float | None = None
    wall_s: float | None = None
    outcome: StepOutcome | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """
    How far an attempt has come: the phase that it entered last, its steps in order, and what it used so far.

    Nothing of it is a verdict: what is recorded of an attempt is recorded when it ends.
    """

    attempt: int
    began_at: str
    phase: str = ""
    phase_began_s: float = 0.0
    steps: tuple[StepProgress, ...] = ()
    samples: tuple[Sample, ...] = ()

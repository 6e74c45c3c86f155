"""A key that somebody gives to a run, so that who asks twice for the same gets one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isolation.model.outcome import Outcome
    from isolation.model.run import RunState


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A key for a run that begins; ``instead_of`` is the run that had it and has ended, empty if there was none."""

    text: str
    instead_of: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """The run that has a key; ``outcome`` is None until it ended, and when its controller died."""

    run_id: str
    state: RunState
    outcome: Outcome | None

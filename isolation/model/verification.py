"""What came of a recipe that was run several times, each with something else varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import JsonValue

Stability = Literal["stable", "volatile", "unstable"]
ItemArea = Literal["outcome", "step", "output", "change", "artifact"]
Varied = tuple[str, ...]
"""Names of what was varied at once, of ``rules.variations``; empty: all was held still."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One run, and what was varied in it against the first."""

    run_id: str
    outcome: str
    varied: Varied


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """
    Whether one thing that came out was the same in every run; ``volatile``: it was not, in what does not count.

    ``name`` is a key of the context, an output as ``step.key``, an artifact, a step, or ``outcome``. ``step`` made it
    otherwise: the one where that began, if it went from step to step; empty if nobody can tell. ``moved_by`` has what
    was varied in the runs that moved it; it is empty if ``moved_still``: it moves also with all held still. ``first``
    and ``other`` are the first run's value and another one, at ``place``.
    """

    area: ItemArea
    name: str
    stability: Stability
    step: str = ""
    moved_still: bool = False
    moved_by: tuple[Varied, ...] = ()
    place: str = ""
    first: JsonValue = None
    other: JsonValue = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """All runs and all labels; ``not_varied`` has what could not be varied, with the reason."""

    recipe: str
    trials: tuple[Trial, ...]
    labels: tuple[Label, ...]
    not_varied: dict[str, str]

    @property
    def stable(self) -> bool:
        """Tell whether everything that counts came out the same in every run."""
        return all(label.stability != "unstable" for label in self.labels)

"""What differs between two runs, and what that means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import JsonValue

Area = Literal["origin", "environment", "outcome", "step", "output", "change", "artifact", "log", "usage"]
Verdict = Literal["identical", "equivalent", "diverged"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """
    One thing that is not the same in both runs; ``missing`` says which of both has it not at all, and not as null.

    ``what`` names it, such as ``step load: outputs.total``; ``name`` is what globs go by: the key, ``load.total``, the
    artifact, the step; ``step`` is the one that it is about, if it is about one. ``counts``: it speaks against the runs
    having come out the same; what is declared to be volatile, numbers within a tolerance, what was logged, and where
    and on what they ran do not.
    """

    area: Area
    what: str
    left: JsonValue
    right: JsonValue
    counts: bool
    missing: Literal["", "left", "right"] = ""
    name: str = ""
    step: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """
    Two runs, compared.

    ``identical``: they came out the same. ``equivalent``: but for what does not count. ``diverged``: they did not;
    ``first_step`` is the first that differs in what counts, empty where no step does.
    """

    left: str
    right: str
    verdict: Verdict
    first_step: str
    differences: tuple[Difference, ...]

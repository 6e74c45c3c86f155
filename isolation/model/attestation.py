"""Attestation: what was found to confine one cell, fact by fact, before a byte of the recipe went in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

View = Literal["engine", "host", "cell"]
"""Who saw it: the engine's record, the host's kernel from outside, or the runner from inside."""

Cell = Literal["new", "warm", "shared"]

Verdict = Literal["held", "unverified", "mismatch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """
    One control, as one view shows it.

    ``found`` is empty, and ``why`` says why, where it could not be read; then the verdict is ``unverified``. ``early``:
    it was seen when a cell was made to stand ready, before a run claimed it.
    """

    name: str
    view: View
    verdict: Verdict
    expected: str
    found: str = ""
    why: str = ""
    early: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Attestation:
    """
    All facts of one cell. ``runtime`` decides what they must be: gVisor shows another kernel than the host's.

    ``cell`` is ``new`` where it was made for its run, and ``warm`` where it stood ready: then its runner told of itself
    before it was claimed, and what a claim changes, or a process could, the host saw after that: what it is and may do,
    its namespaces, mounts, group and limits. ``shared``: the policy lets runs of the
    same package share it, one after another; the facts are those of its first run, and before each further one the
    host saw that its limits stand, that nothing lives in it but the runner, and that no file of a run is left.
    """

    runtime: str
    facts: tuple[Fact, ...]
    cell: Cell = "new"

    def having(self, verdict: Verdict) -> tuple[Fact, ...]:
        """Return the facts with that verdict."""
        return tuple(fact for fact in self.facts if fact.verdict == verdict)

    def objection(self, *, all_required: bool) -> str:
        """
        Say why nothing may be delivered to the cell; empty if it may.

        A mismatch always is a reason; what could not be verified is one where the policy requires everything.
        """
        wrong = self.having("mismatch")
        if wrong:
            return "; ".join(
                f"{fact.name} ({fact.view}) should be {fact.expected}, and is {fact.found}" for fact in wrong
            )
        open_facts = self.having("unverified") if all_required else ()
        return "; ".join(f"{fact.name} ({fact.view}) could not be verified: {fact.why}" for fact in open_facts)

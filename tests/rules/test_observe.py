"""What was declared of the context, against what was done."""

from __future__ import annotations

from typing import Any

from isolation.model.outcome import StepOutcome
from isolation.model.recipe import Scope
from isolation.model.run import ContextUse, StepReport
from isolation.rules.observe import observe


def step(**fields: Any) -> StepReport:  # noqa: ANN401 - a field is anything
    return StepReport(name="step", outcome=StepOutcome.SUCCEEDED, **fields)


def test_what_was_declared_and_never_used_is_told() -> None:
    """Least privilege: whoever sees it can take it out. A key that was written in vain was written."""
    declared = Scope(reads=("a.*", "b"), writes=("c", "d.*", "e"))
    steps = (step(keys_read=("a.x",), keys_written=("c",)), step(keys_dropped=("d.1",)))

    use = observe(declared, ["*"], steps)

    assert (use.reads, use.unused_reads) == (("a.*", "b"), ("b",))
    assert (use.writes, use.unused_writes) == (("c", "d.*", "e"), ("e",))


def test_who_looked_at_everything_used_all_that_it_may_read() -> None:
    """Nobody can tell which keys it needed."""
    assert observe(Scope(reads=("a.*", "b")), ["*"], (step(read_all=True),)).unused_reads == ()


def test_who_declared_nothing_declared_nothing_in_vain() -> None:
    """None is not the same as an empty list."""
    assert observe(Scope(), ["*"], (step(keys_read=("a",)),)) == ContextUse()
    assert observe(Scope(reads=(), writes=()), ["*"], ()) == ContextUse(reads=(), writes=())


def test_a_key_that_was_asked_for_and_cannot_have_been_seen_is_told() -> None:
    """A recipe that forgot to declare it goes on with its default; what a step wrote, another may read."""
    steps = (step(keys_written=("mine",)), step(keys_read=("a", "b", "mine", "z")))

    assert observe(Scope(reads=("a", "z")), ["a*", "b*"], steps).not_shown == ("b", "z")

"""What each step read and wrote, letter by letter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isolation.cli.effects import conflict_lines
from isolation.cli.observed import observed_lines
from isolation.cli.paint import Paint
from isolation.cli.summary import summary
from isolation.model.changes import Merge
from isolation.model.outcome import StepOutcome
from isolation.model.run import ContextUse, StepReport

if TYPE_CHECKING:
    from tests.cli.conftest import Make

STEPS = (
    StepReport(
        name="extract", outcome=StepOutcome.SUCCEEDED, keys_read=("sales.eu", "sales.us"), keys_written=("raw",)
    ),
    StepReport(name="quiet", outcome=StepOutcome.SUCCEEDED),
    StepReport(
        name="sum",
        outcome=StepOutcome.SUCCEEDED,
        read_all=True,
        keys_read=("raw",),
        keys_written=("best", "total"),
        keys_combined=("total",),
        keys_dropped=("last",),
    ),
)
USE = ContextUse(unused_reads=("old.*",), unused_writes=("x", "y"), not_shown=("secret",))
SHOWN = """\
context
  step     read                wrote
  extract  sales.eu, sales.us  raw
  sum      (everything), raw   best, last (dropped), total (combined)
  declared, and never read: old.*
  declared, and never written: x, y
  asked for, and not shown: secret"""
CONFLICTS = """\
conflicts
  sales.total
    read    nothing  (load)
    theirs  41  (alice, run 20250101-000000-ffff)"""


def test_steps_and_what_was_declared_beyond_them(make: Make) -> None:
    """One that did not touch the context is not there."""
    result = make.result(steps=STEPS, context=USE)

    assert "\n".join(observed_lines(result, Paint())) == SHOWN
    assert f"\n\n{SHOWN}\n\nchanges" in summary(result, make.policy, str)


def test_what_a_step_that_did_not_run_would_have_used_is_not_called_unused(make: Make) -> None:
    """What it asked for beyond its scope is a fact all the same."""
    skipped = StepReport(name="last", outcome=StepOutcome.SKIPPED)
    lines = observed_lines(make.result(steps=(STEPS[0], skipped), context=USE), Paint())

    assert lines[-1] == "  asked for, and not shown: secret"
    assert len(lines) == 4


def test_a_run_without_the_context_says_nothing_of_it(make: Make) -> None:
    """Most small recipes."""
    assert observed_lines(make.result(steps=STEPS[1:2]), Paint()) == []


def test_many_keys_fit_on_a_line_and_nothing_hostile_is_left(make: Make) -> None:
    """The record has the rest."""
    many = StepReport(name="a\x1b", outcome=StepOutcome.SUCCEEDED, keys_read=tuple(f"k{i}\x1b" for i in range(99)))
    evil = ContextUse(not_shown=("\u202e",))
    lines = observed_lines(make.result(steps=(many,), context=evil), Paint())

    assert all(character.isprintable() for line in lines for character in line)
    assert lines[2].split("  ")[2].endswith(" and 92 more")


def test_a_conflict_of_a_read_shows_what_was_read(make: Make) -> None:
    """And nothing is not null."""
    result = make.conflict()
    conflict = replace(result.merge.conflicts[0], read=True, ours=None, missing="ours")

    assert (
        "\n".join(conflict_lines(replace(result, merge=Merge(status="conflict", conflicts=(conflict,))))) == CONFLICTS
    )

"""The bill of an attempt, letter by letter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isolation.cli.bill import bill_lines
from isolation.cli.paint import Paint
from isolation.cli.summary import summary
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.run import Attempt, StepReport

if TYPE_CHECKING:
    from tests.cli.conftest import Make

PHASES = {
    "queue": (-2500.0, 2500.0),
    "pack": (0.0, 10.0),
    "freeze": (10.0, 25.0),
    "create": (10.0, 20.0),
    "run": (50.0, 40.0),
    "merge": (98.0, 2.0),
}
STEPS = (
    StepReport(name="load", outcome=StepOutcome.SUCCEEDED, began_s=0.05, wall_s=0.02, import_s=0.004),
    StepReport(name="sum", outcome=StepOutcome.SUCCEEDED, began_s=0.072, wall_s=0.0182),
    StepReport(name="report", outcome=StepOutcome.SKIPPED),
)
ATTEMPT = Attempt(
    number=1,
    outcome=Outcome.SUCCEEDED,
    cause="",
    started_at="2025-01-02T03:04:05.678Z",
    phases_ms={name: took for name, (_, took) in PHASES.items()} | {"import": 4.0},
    phases_at_ms={name: at for name, (at, _) in PHASES.items()},
    steps=STEPS,
)
PLAIN = Paint()
BILL = """\
bill
  queue                 2500 ms
  pack                    10 ms  ####
  freeze                  25 ms      ##########
  create                  20 ms      ########
  run                     40 ms                      ################
    load                  20 ms                      ########
    sum                   18 ms                              #######
    (of these: import)   4.0 ms
  merge                  2.0 ms                                         #
  of 100 ms: the steps 38 ms (38 %), ours 62 ms (62 %)"""
NARROW = """\
bill
  queue                 2500 ms
  pack                    10 ms
"""


def test_the_bill_of_an_attempt() -> None:
    """Each phase lies where it lay in time, so that one sees what went on beside what, and what waited for what."""
    assert "\n".join(bill_lines([ATTEMPT], PLAIN, 73)) == BILL


def test_a_narrow_place_has_the_figures_alone() -> None:
    """A line that the terminal breaks is no drawing."""
    lines = bill_lines([ATTEMPT], PLAIN, 40)

    assert "\n".join(lines).startswith(NARROW)
    assert not any("#" in line for line in lines)


def test_the_drawing_fits_its_place() -> None:
    """Whatever began last, and however short it was."""
    for width in range(60, 200):
        assert all(len(line) <= width for line in bill_lines([ATTEMPT], PLAIN, width))


def test_each_attempt_has_its_own() -> None:
    """One that never came to a cell has none."""
    without = replace(ATTEMPT, number=2, phases_ms={}, phases_at_ms={}, steps=())
    lines = bill_lines([ATTEMPT, without, replace(ATTEMPT, number=3)], PLAIN)

    assert [line for line in lines if line.startswith("bill")] == ["bill of attempt 1", "bill of attempt 3"]


def test_old_records_have_figures_and_no_drawing() -> None:
    """They do not tell when a phase began."""
    steps = tuple(replace(step, began_s=None) for step in STEPS)
    lines = bill_lines([replace(ATTEMPT, phases_at_ms={}, steps=steps)], PLAIN)

    assert "  merge                  2.0 ms" in lines
    assert not any("#" in line or "ours" in line for line in lines)


def test_of_many_steps_the_longest_are_named() -> None:
    """A hundred lines would hide the rest; what is left out is summed up."""
    steps = tuple(
        StepReport(name=f"s{number}", outcome=StepOutcome.SUCCEEDED, began_s=0.05, wall_s=number / 1e5)
        for number in range(100)
    )
    lines = bill_lines([replace(ATTEMPT, steps=steps)], PLAIN)

    named = [line.split()[0] for line in lines if line.startswith("    s")]
    assert named == [f"s{number}" for number in range(80, 100)]
    assert [line.split() for line in lines if "shorter" in line] == [["80", "shorter", "steps", "32", "ms"]]


def test_nothing_hostile_is_left_in_a_name() -> None:
    """A step's name is the recipe's."""
    evil = replace(STEPS[0], name="a\x1b[2J\u202e")
    lines = bill_lines([replace(ATTEMPT, steps=(evil,))], PLAIN)

    assert all(line.isprintable() for line in lines)


def test_the_bill_stands_in_the_summary_after_what_was_used(make: Make) -> None:
    """`isolation show` has it; `isolation run` does not."""
    where = str
    text = summary(make.result(), make.policy, where, bill=bill_lines([ATTEMPT], PLAIN, 73))

    assert f"0 B read, - written\n\n{BILL}\n\nchanges" in text
    assert "bill" not in summary(make.result(), make.policy, where)

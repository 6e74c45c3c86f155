"""What two runs wrote, compared: by step and stream, whatever was written between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from isolation.model.event import LogLine
from isolation.rules.compare import Comparing
from isolation.rules.compare_logs import log_differences

if TYPE_CHECKING:
    from isolation.model.difference import Difference
    from tests.conftest import ResultOf


def line(step: str, text: str, stream: Literal["stdout", "stderr", "log"] = "stdout", level: str = "") -> LogLine:
    return LogLine(step=step, stream=stream, text=text, at="2025-01-02T03:04:05.678Z", level=level)


def said(difference: Difference) -> tuple[object, ...]:
    return difference.what, difference.left, difference.right, difference.missing


def test_what_steps_at_once_write_may_come_in_any_order() -> None:
    """And at any time: only the order within a stream of one step is the recipe's."""
    a1, a2, b, error = line("a", "1"), line("a", "2"), line("b", "1"), line("a", "oh", "stderr")

    assert list(log_differences([a1, a2, b, error], [error, b, a1, a2])) == []
    assert [said(one) for one in log_differences([a1, a2], [a2, a1])] == [("step a stdout: line 1", "1", "2", "")]


def test_the_first_line_that_differs_is_told_and_the_number_of_lines() -> None:
    """All that follows may only be its consequence."""
    left = [line("a", text) for text in ("same", "x", "y")]
    right = [line("a", text) for text in ("same",)]

    assert [said(one) for one in log_differences(left, right)] == [
        ("step a stdout: line 2", "x", None, "right"),
        ("step a stdout: lines", 3, 1, ""),
    ]


def test_a_step_that_wrote_in_one_run_only_and_the_level_of_a_record_are_told() -> None:
    """Nothing at all is a difference, too; and what belongs to no step is the run's."""
    quiet = list(log_differences([], [line("", "a file was not kept", "log", "WARNING")]))
    level = list(log_differences([line("a", "x", "log", "INFO")], [line("a", "x", "log", "ERROR")]))

    assert [said(one) for one in quiet] == [
        ("the run log: line 1", None, "WARNING a file was not kept", "left"),
        ("the run log: lines", 0, 1, ""),
    ]
    assert [said(one) for one in level] == [("step a log: line 1", "INFO x", "ERROR x", "")]


def test_the_fields_of_a_record_are_compared_with_it() -> None:
    """They are what it says, too."""
    left, right = (replace(line("a", "loaded", "log", "INFO"), fields={"rows": rows}) for rows in (5, 6))

    assert [said(one) for one in log_differences([left], [right])] == [
        ("step a log: line 1", 'INFO loaded {"rows": 5}', 'INFO loaded {"rows": 6}', ""),
    ]


def test_runs_that_logged_otherwise_are_equivalent_and_no_more(result_of: ResultOf) -> None:
    """A time in a line must not make a run another one; but it is not the same to the last word."""
    left = result_of("r1")
    found = Comparing().compare(left, left, logs=([line("sum", "took 1 s")], [line("sum", "took 2 s")]))

    assert (found.verdict, found.first_step) == ("equivalent", "")
    assert [(one.area, one.counts) for one in found.differences] == [("log", False)]

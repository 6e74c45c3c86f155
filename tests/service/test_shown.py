"""What a page shows of recorded values, and of an attempt that goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.policy import Policy
from isolation.model.progress import StepProgress
from isolation.model.run import StepReport
from isolation.model.usage import Sample
from isolation.service.page import shown

if TYPE_CHECKING:
    from tests.conftest import ResultOf

RETRY = {"out_of_memory": {"attempts": 3, "memory": "x2", "up_to": "96MiB"}}
RAISES = {"name": "p", "limits": {"memory": "32MiB"}, "retry": RETRY}


def test_steps_lie_along_the_time_of_their_attempt() -> None:
    """One that ended, one under way up to now, one that did not run and says why, one that has not begun."""
    first, second, third, fourth = shown.steps_of(
        [
            StepProgress(name="a", began_s=0.0, wall_s=1.0, outcome=StepOutcome.SUCCEEDED),
            StepProgress(name="b", began_s=1.0),
            StepProgress(name="c", outcome=StepOutcome.SKIPPED, reason="not wanted"),
            StepProgress(name="d"),
        ],
        now_s=4.0,
    )
    assert (first.at, first.width, first.kind, first.text) == (0.0, 250.0, "succeeded", "1.0 s")
    assert (second.at, second.width, second.kind, second.text) == (250.0, 750.0, "", "3.0 s, under way")
    assert (third.at, third.text) == (None, "not wanted")
    assert (fourth.at, fourth.text) == (None, "not begun")


def test_steps_on_record_are_shown_as_they_were() -> None:
    """Also where nothing is known of their time."""
    ran, unknown = shown.steps_of(
        [
            StepReport(name="a", outcome=StepOutcome.FAILED, began_s=0.5, wall_s=0.5),
            StepReport(name="b", outcome=StepOutcome.UNKNOWN),
        ]
    )
    assert (ran.at, ran.width, ran.kind) == (500.0, 500.0, "failed")
    assert (unknown.at, unknown.text) == (None, "unknown")


def test_attempts_stand_side_by_side_with_the_limits_that_each_had(result_of: ResultOf) -> None:
    """A limit that a retry raised is seen; those that stayed are not."""
    policy = Policy.model_validate(RAISES)
    (last,) = result_of("r1").attempts
    attempts = [
        replace(last, number=1, outcome=Outcome.OUT_OF_MEMORY, cause="memory", steps=()),
        replace(last, number=2, outcome=Outcome.OUT_OF_MEMORY, cause="memory"),
        replace(last, number=3),
    ]
    table = dict(shown.side_by_side(attempts, policy))
    assert table["ended"] == ["out of memory", "out of memory", "succeeded"]
    assert table["memory's limit"] == ["32 MiB", "64 MiB", "96 MiB"]
    assert "wall's limit" not in table
    for step in last.steps:
        before, *others = table[f"step {step.name}"]
        assert before == ""
        assert all(text.startswith(step.outcome.value) for text in others)


def test_plots_show_rates_and_limits() -> None:
    """A counter that is not known at one of two moments has no rate between them."""
    limits = Policy(name="p").limits
    series = [
        Sample(at_s=0.0, cpu_s=0.0, memory_bytes=1, pids=1, io_read_bytes=0),
        Sample(at_s=0.5, cpu_s=0.25, memory_bytes=2, pids=2, io_read_bytes=100),
        Sample(at_s=0.5, cpu_s=0.5, memory_bytes=3),
    ]
    assert shown.plots_of(series[:1], limits) == []
    plots = {plot["title"]: plot for plot in shown.plots_of(series, limits)}
    assert plots["CPU"]["lines"] == {"CPU": [None, 0.5, None]}
    assert plots["CPU"]["limit"] == limits.cpus
    assert plots["memory"]["lines"] == {"memory": [1, 2, 3]}
    assert plots["I/O a second"]["lines"] == {"read": [None, 200.0, None], "written": [None, None, None]}
    assert all(plot["at"] == [0.0, 0.5, 0.5] for plot in plots.values())

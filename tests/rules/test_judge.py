"""How an attempt ended: one test for each rule, in order of authority, and where they overlap."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from isolation.model.evidence import Evidence
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.run import StepReport
from isolation.rules.judge import judge


def step(outcome: StepOutcome = StepOutcome.SUCCEEDED, cause: str = "") -> StepReport:
    return StepReport(name="load", outcome=outcome, cause=cause)


GOOD = Evidence(oom_kills=0, forks_refused=0, exit_code=0, answer="complete", steps=(step(),))
FAILED = replace(GOOD, steps=(step(StepOutcome.FAILED, "exception"),), exit_code=1)


def test_a_proven_answer_whose_steps_succeeded_is_success() -> None:
    """The one way to succeed."""
    assert judge(GOOD) == (Outcome.SUCCEEDED, "")


def test_a_disabled_step_does_not_keep_a_run_from_success() -> None:
    """Its author switched it off."""
    assert judge(replace(GOOD, steps=(step(), step(StepOutcome.DISABLED)))) == (Outcome.SUCCEEDED, "")


RULES = [
    ({"lost": "the engine is gone"}, (Outcome.LOST, "engine")),
    ({"refused": "capabilities"}, (Outcome.REFUSED, "attestation")),
    ({"stopped": "limits.wall"}, (Outcome.TIMED_OUT, "limits.wall")),
    ({"oom_kills": 1}, (Outcome.OUT_OF_MEMORY, "limits.memory")),
    ({"forks_refused": 1}, (Outcome.TOO_MANY_PROCESSES, "limits.pids")),
    ({"stopped": "limits.log"}, (Outcome.OUTPUT_LIMIT, "limits.log")),
    ({"answer": "malformed"}, (Outcome.BAD_ANSWER, "channel")),
    ({"steps": (step(StepOutcome.FAILED, "exception"),)}, (Outcome.FAILED, "step:load:exception")),
    ({"exit_code": 3}, (Outcome.NO_ANSWER, "exit_code:3")),
]


@pytest.mark.parametrize(("change", "expected"), RULES)
def test_each_rule_decides_when_it_alone_applies(change: dict[str, object], expected: tuple[Outcome, str]) -> None:
    """A single fact against an otherwise good attempt."""
    assert judge(replace(GOOD, **change)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("higher", "lower"), [*pairwise(RULES)])
def test_of_two_rules_the_one_of_more_authority_decides(
    higher: tuple[dict[str, object], tuple[Outcome, str]], lower: tuple[dict[str, object], tuple[Outcome, str]]
) -> None:
    """Evidence overlaps: one cause has several signs."""
    assert judge(replace(GOOD, **{**lower[0], **higher[0]})) == higher[1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stopped", "expected"),
    [
        ("cancelled", Outcome.CANCELLED),
        ("limits.wall", Outcome.TIMED_OUT),
        ("limits.step_wall", Outcome.TIMED_OUT),
        ("limits.log", Outcome.OUTPUT_LIMIT),
        ("limits.result", Outcome.OUTPUT_LIMIT),
        ("limits.artifacts", Outcome.OUTPUT_LIMIT),
    ],
)
def test_each_reason_of_ours_to_stop_has_its_outcome(stopped: str, expected: Outcome) -> None:
    """And is the cause itself."""
    assert judge(replace(GOOD, stopped=stopped, answer="missing")) == (expected, stopped)  # type: ignore[arg-type]


def test_a_secret_for_the_context_is_its_steps_failure() -> None:
    """The attempt was stopped for it: what other steps were at in that moment says nothing."""
    steps = (replace(step(StepOutcome.UNKNOWN), name="other"), step(StepOutcome.FAILED, "secret_in_context"))
    stopped = replace(GOOD, stopped="secret", answer="missing", exit_code=137, steps=steps)

    assert judge(stopped) == (Outcome.FAILED, "step:load:secret_in_context")


def test_exit_137_without_a_counted_kill_is_not_out_of_memory() -> None:
    """So ends whoever kills itself by SIGKILL, or is stopped by anybody."""
    assert judge(replace(GOOD, exit_code=137, answer="missing")) == (Outcome.NO_ANSWER, "exit_code:137")


def test_dying_with_as_many_processes_as_it_may_have_is_too_many_processes() -> None:
    """A gVisor that is refused a thread dies of it, and the kernel's count of refusals dies with its group."""
    died = replace(GOOD, exit_code=2, answer="missing", full_of_tasks=True)

    assert judge(died) == (Outcome.TOO_MANY_PROCESSES, "limits.pids")
    assert judge(replace(died, answer="complete", exit_code=0)) == (Outcome.SUCCEEDED, "")
    assert judge(replace(died, stopped="limits.log")) == (Outcome.OUTPUT_LIMIT, "limits.log")


def test_exit_0_without_an_answer_is_no_answer() -> None:
    """The engine says 0 of containers that it lost sight of."""
    assert judge(replace(GOOD, answer="missing")) == (Outcome.NO_ANSWER, "exit_code:0")


def test_a_child_killed_for_memory_spoils_a_good_answer() -> None:
    """The recipe may not have noticed that part of its work is missing."""
    assert judge(replace(GOOD, oom_kills=1)) == (Outcome.OUT_OF_MEMORY, "limits.memory")


def test_our_own_kill_is_not_called_out_of_memory() -> None:
    """A recipe that was over both limits is told the one that we acted on."""
    killed = replace(GOOD, stopped="limits.wall", oom_kills=1, exit_code=137, answer="missing")

    assert judge(killed) == (Outcome.TIMED_OUT, "limits.wall")


def test_the_engines_word_on_memory_counts_only_without_a_counter() -> None:
    """Docker has said both, wrongly; the kernel's counter is exact."""
    told = replace(FAILED, engine_saw_oom=True)

    assert judge(replace(told, oom_kills=None))[0] is Outcome.OUT_OF_MEMORY
    assert judge(replace(told, oom_kills=0))[0] is Outcome.FAILED


def test_counters_that_cannot_be_read_decide_nothing() -> None:
    """None is not zero, and not one either."""
    assert judge(replace(GOOD, oom_kills=None, forks_refused=None)) == (Outcome.SUCCEEDED, "")


@pytest.mark.parametrize(
    ("outcome", "cause", "expected"),
    [
        (StepOutcome.FAILED, "exception", Outcome.FAILED),
        (StepOutcome.FAILED, "signal:11", Outcome.FAILED),
        (StepOutcome.FAILED, "disk_full", Outcome.DISK_FULL),
        (StepOutcome.FAILED, "answer_too_large", Outcome.OUTPUT_LIMIT),
        (StepOutcome.TIMED_OUT, "timeout", Outcome.TIMED_OUT),
        (StepOutcome.NO_ANSWER, "no_answer", Outcome.NO_ANSWER),
        (StepOutcome.BAD_ANSWER, "bad_outputs", Outcome.BAD_ANSWER),
        (StepOutcome.UNKNOWN, "", Outcome.FAILED),
    ],
)
def test_a_steps_end_gives_the_attempts(outcome: StepOutcome, cause: str, expected: Outcome) -> None:
    """The cause names the step, for people and for retry rules."""
    assert judge(replace(FAILED, steps=(step(outcome, cause),))) == (expected, f"step:load:{cause}")


def test_the_first_step_that_failed_is_the_cause() -> None:
    """What came after it may have failed because of it."""
    steps = (step(StepOutcome.SKIPPED), step(StepOutcome.FAILED, "first"), step(StepOutcome.TIMED_OUT, "second"))

    assert judge(replace(FAILED, steps=steps)) == (Outcome.FAILED, "step:load:first")


def test_a_skipped_step_alone_is_a_failure() -> None:
    """Its dependency was switched off: what was asked for was not done."""
    steps = (step(StepOutcome.DISABLED), step(StepOutcome.SKIPPED))

    assert judge(replace(GOOD, steps=steps)) == (Outcome.FAILED, "skipped")

"""Each outcome in words: what happened, against which limit, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.cli.words import explain
from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from tests.cli.conftest import Make

SENTENCES = [
    (Outcome.SUCCEEDED, "", "succeeded"),
    (Outcome.FAILED, "skipped", "failed: not every step could run"),
    (Outcome.FAILED, "step:load:missing_keys", "failed: step 'load': no column\\x1b[31m\\nsecond line"),
    (Outcome.FAILED, "step:other:signal:9", "failed: step 'other' did not succeed"),
    (
        Outcome.OUT_OF_MEMORY,
        "limits.memory",
        "out of memory: it needed more than the 512 MiB that policy 'default' allows",
    ),
    (Outcome.TIMED_OUT, "limits.wall", "timed out: it took longer than the 60.0 s that policy 'default' allows"),
    (
        Outcome.TIMED_OUT,
        "limits.step_wall",
        "timed out: a step took longer than the 60.0 s that policy 'default' allows",
    ),
    (Outcome.TIMED_OUT, "step:wait:timeout", "timed out: step 'wait' took longer than it may"),
    (
        Outcome.TOO_MANY_PROCESSES,
        "limits.pids",
        "too many processes: it wanted more than the 128 processes and threads that policy 'default' allows at once",
    ),
    (
        Outcome.DISK_FULL,
        "step:write:disk_full",
        (
            "disk full: step 'write' wrote more than its policy allows (64 MiB in 4096 files), or a larger file"
            " than 64 MiB"
        ),
    ),
    (
        Outcome.OUTPUT_LIMIT,
        "limits.log",
        "too much output: its log is longer than the 8 MiB that policy 'default' allows",
    ),
    (
        Outcome.OUTPUT_LIMIT,
        "limits.artifacts",
        "too much output: it left more than the 64 files, 16 MiB in all, that policy 'default' allows",
    ),
    (
        Outcome.OUTPUT_LIMIT,
        "step:sum:answer_too_large",
        "too much output: the answer of step 'sum' is larger than the 1 MiB that policy 'default' allows",
    ),
    (Outcome.NO_ANSWER, "exit_code:137", "no answer: it ended without one (exit code 137)"),
    (Outcome.NO_ANSWER, "exit_code:None", "no answer: it ended without one"),
    (Outcome.NO_ANSWER, "step:quit:no_answer", "no answer: step 'quit' ended without one"),
    (Outcome.BAD_ANSWER, "channel", "bad answer: what came out of the container was not written by our runner"),
    (Outcome.BAD_ANSWER, "step:lie:bad_answer", "bad answer: step 'lie' answered what nobody can read"),
    (Outcome.CANCELLED, "cancelled", "cancelled: it was stopped from outside; nothing was merged"),
    (
        Outcome.REFUSED,
        "attestation",
        "refused: the cell was not confined as its policy asks, so nothing was delivered to it",
    ),
    (Outcome.LOST, "engine", "lost: the engine lost the container, so nothing that it did can be believed"),
    (
        Outcome.CONFLICT,
        "merge",
        "conflict: keys were changed by somebody else since the run's snapshot; nothing was merged",
    ),
]


@pytest.mark.parametrize(("outcome", "cause", "sentence"), SENTENCES)
def test_the_sentence_names_what_happened(make: Make, outcome: Outcome, cause: str, sentence: str) -> None:
    """A person need not know our causes by heart."""
    result = make.result(outcome, cause, errors=make.failed().errors)
    assert explain(result, make.policy).sentence == sentence


def test_every_outcome_has_its_sentence() -> None:
    """A new outcome must not reach people without words."""
    assert {outcome for outcome, _, _ in SENTENCES} == set(Outcome)


@pytest.mark.parametrize(("outcome", "cause", "_sentence"), SENTENCES)
def test_without_its_policy_a_run_is_still_explained(make: Make, outcome: Outcome, cause: str, _sentence: str) -> None:
    """The policy's blob may be gone; then no limit is named, and none is invented."""
    words = explain(make.result(outcome, cause), None)
    assert "MiB" not in words.sentence
    assert "default" not in words.sentence


def test_whoever_failed_is_told_what_to_do(make: Make) -> None:
    """Everything but success, and a stop that a person asked for, has advice."""
    for outcome, cause, _ in SENTENCES:
        advised = bool(explain(make.result(outcome, cause), make.policy).advice)
        assert advised == (outcome not in {Outcome.SUCCEEDED, Outcome.CANCELLED})

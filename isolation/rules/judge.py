"""How an attempt ended, decided from evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.model.outcome import Outcome, StepOutcome

if TYPE_CHECKING:
    from isolation.model.evidence import Evidence
    from isolation.model.run import StepReport

_STOPS = {
    "cancelled": Outcome.CANCELLED,
    "limits.wall": Outcome.TIMED_OUT,
    "limits.step_wall": Outcome.TIMED_OUT,
}
_MET = {"limits.memory": Outcome.OUT_OF_MEMORY, "limits.pids": Outcome.TOO_MANY_PROCESSES}
_STEP_CAUSES = {"disk_full": Outcome.DISK_FULL, "answer_too_large": Outcome.OUTPUT_LIMIT}
_STEPS = {
    StepOutcome.TIMED_OUT: Outcome.TIMED_OUT,
    StepOutcome.NO_ANSWER: Outcome.NO_ANSWER,
    StepOutcome.BAD_ANSWER: Outcome.BAD_ANSWER,
}
SECRET_WRITTEN = "secret_in_context"  # noqa: S105 - a cause
"""The cause of a step that wrote a secret into the context; the attempt is stopped at once."""
_FINE = {StepOutcome.SUCCEEDED, StepOutcome.DISABLED}


def judge(evidence: Evidence) -> tuple[Outcome, str]:
    """
    Decide how an attempt ended, and from what (a machine-readable cause).

    The evidence overlaps: a container killed for memory exits 137, and so does one that we stop for time. We read
    it in order of authority, and the first that applies decides:

    1. the engine lost the container: nothing else can be believed;
    2. the cell was not confined as its policy asks, so nothing was delivered;
    3. it was us who stopped it: a cancel, or time;
    4. the kernel counted a kill for memory, or refused a fork, whatever the recipe made of it (it is stopped if it
       goes on for long); where a cell dies of the refusal itself, as gVisor does, its own count dies with it: no
       answer, and the limit was met;
    5. it said more than it may, or what it may not: a secret, to the context;
    6. the answer is missing, or does not prove itself;
    7. a step did not succeed;
    8. the container's own exit code, unless it stays for other runs.
    """
    if evidence.lost or evidence.refused:
        return (Outcome.LOST, "engine") if evidence.lost else (Outcome.REFUSED, "attestation")
    if evidence.stopped in _STOPS:
        return _STOPS[evidence.stopped], evidence.stopped
    if evidence.oom_kills or (evidence.oom_kills is None and evidence.engine_saw_oom):
        return Outcome.OUT_OF_MEMORY, "limits.memory"
    died_full = evidence.full_of_tasks and evidence.answer == "missing" and not evidence.stopped
    if evidence.forks_refused or died_full:
        return Outcome.TOO_MANY_PROCESSES, "limits.pids"
    if evidence.stopped in _MET:
        return _MET[evidence.stopped], evidence.stopped
    return _judge_output(evidence) if evidence.stopped else _judge_answer(evidence)


def _judge_output(evidence: Evidence) -> tuple[Outcome, str]:
    if evidence.stopped != "secret":
        return Outcome.OUTPUT_LIMIT, evidence.stopped
    return _judge_step(next(step for step in evidence.steps if step.cause == SECRET_WRITTEN))


def _judge_answer(evidence: Evidence) -> tuple[Outcome, str]:
    if evidence.answer == "missing":
        return Outcome.NO_ANSWER, f"exit_code:{evidence.exit_code}"
    if evidence.answer == "malformed":
        return Outcome.BAD_ANSWER, "channel"
    for step in evidence.steps:
        if step.outcome not in _FINE and step.outcome is not StepOutcome.SKIPPED:
            return _judge_step(step)
    if evidence.exit_code:  # None: its cell stays, for other runs
        return Outcome.NO_ANSWER, f"exit_code:{evidence.exit_code}"
    if any(step.outcome is StepOutcome.SKIPPED for step in evidence.steps):
        return Outcome.FAILED, "skipped"
    return Outcome.SUCCEEDED, ""


def _judge_step(step: StepReport) -> tuple[Outcome, str]:
    outcome = _STEP_CAUSES.get(step.cause) or _STEPS.get(step.outcome, Outcome.FAILED)
    return outcome, f"step:{step.name}:{step.cause}"

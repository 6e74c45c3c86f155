"""Says in words how a run ended, and what to do: pure, one sentence for each outcome and cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.cli.values import clip
from isolation.model.outcome import Outcome
from isolation.rules.escape import escape
from isolation.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.policy import Policy
    from isolation.model.run import Result, StepError, StepReport

_MESSAGE_CHARS = 160


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence that tells what happened, fit to be shown, and one that tells what to do (empty: nothing)."""

    sentence: str
    advice: str = ""


def explain(result: Result, policy: Policy | None) -> Words:
    """Explain how a run ended. Without its policy (no longer kept) the sentences name no limit."""
    return _EXPLAIN[result.outcome](_Case(result, policy))


def cached_from(step: StepReport) -> str:
    """Say which run made what a step took instead of running; empty where it ran."""
    return f"cached from {step.cached_from}" if step.cached_from else ""


class _Case:
    """A run with what its sentence needs: the step that the cause names, its error, and the policy's limits."""

    def __init__(self, result: Result, policy: Policy | None) -> None:
        self.result = result
        self.limits = policy.limits if policy else None
        kind, _, rest = result.cause.partition(":")
        self.kind = kind
        self.step, _, self.detail = rest.partition(":") if kind == "step" else ("", "", rest)
        name = f" policy '{escape(policy.name)}'" if policy else " its policy"
        self.allows = f"that{name} allows"

    def error(self) -> StepError | None:
        return next((error for error in self.result.errors if error.step == self.step), None)

    def blame(self, otherwise: str) -> str:
        """Name the step and what it said of itself."""
        error = self.error()
        said = f": {clip(error.message, _MESSAGE_CHARS)}" if error and error.message else f" {otherwise}"
        return f"step '{escape(self.step)}'{said}"

    def see(self, what: str) -> str:
        step = f" --step '{escape(self.step)}'" if self.step else ""
        return f"See what it wrote (`isolation logs {self.result.run_id}{step}`) and {what}."


def _failed(case: _Case) -> Words:
    error = case.error()
    if case.kind != "step":
        return Words("failed: not every step could run", "The list of steps tells why each was skipped.")
    if case.detail == "exception" and error is not None:
        message = f": {clip(error.message, _MESSAGE_CHARS)}" if error.message else ""
        sentence = f"failed: step '{escape(case.step)}' raised {clip(error.type, 80)}{message}"
        return Words(sentence, case.see("mend the step, or what it was given"))
    return Words(f"failed: {case.blame('did not succeed')}", case.see("mend the step, or what it was given"))


def _out_of_memory(case: _Case) -> Words:
    size = f"the {format_bytes(case.limits.memory_bytes)}" if case.limits else "the memory"
    return Words(
        f"out of memory: it needed more than {size} {case.allows}",
        "Let the recipe hold less at once, or allow more: `memory` under `limits` in a policy of your own.",
    )


def _timed_out(case: _Case) -> Words:
    advice = "Let it do less, or allow more: `{}` under `limits` in a policy of your own."
    if case.kind == "step":
        more = "Let the step do less, or give it a longer `timeout` in the recipe, within the policy's `step_wall`."
        return Words(f"timed out: {case.blame('took longer than it may')}", more)
    if case.kind == "limits.step_wall":
        span = f"the {format_seconds(case.limits.step_wall_s)}" if case.limits else "the time"
        return Words(f"timed out: a step took longer than {span} {case.allows}", advice.format("step_wall"))
    span = f"the {format_seconds(case.limits.wall_s)}" if case.limits else "the time"
    return Words(f"timed out: it took longer than {span} {case.allows}", advice.format("wall"))


def _too_many_processes(case: _Case) -> Words:
    count = f"the {case.limits.pids} processes and threads" if case.limits else "the processes and threads"
    return Words(
        f"too many processes: it wanted more than {count} {case.allows} at once",
        "Let it start fewer, or allow more: `pids` under `limits` in a policy of your own.",
    )


def _disk_full(case: _Case) -> Words:
    limits = case.limits
    files = f" in {limits.tmp_inodes} files" if limits and limits.tmp_inodes else ""
    sizes = f" ({format_bytes(limits.tmp_bytes)}{files})" if limits else ""
    sizes += f", or a larger file than {format_bytes(limits.file_bytes)}" if limits else ""
    return Words(
        f"disk full: step '{escape(case.step)}' wrote more than its policy allows{sizes}",
        "Let it write less, or allow more: `tmp`, `tmp_inodes` and `file` under `limits` in a policy of your own.",
    )


def _output_limit(case: _Case) -> Words:
    limits = case.limits
    advice = "Let it put out less, or allow more: `{}` under `limits` in a policy of your own."
    if case.kind == "limits.log":
        size = f"the {format_bytes(limits.log_bytes)}" if limits else "the log"
        return Words(f"too much output: its log is longer than {size} {case.allows}", advice.format("log"))
    if case.kind == "limits.artifacts":
        size = (
            f"the {limits.artifact_count} files, {format_bytes(limits.artifact_bytes)} in all,"
            if limits
            else "the artifacts"
        )
        return Words(f"too much output: it left more than {size} {case.allows}", advice.format("artifacts"))
    size = f"the {format_bytes(limits.result_bytes)}" if limits else "the result"
    who = f"the answer of step '{escape(case.step)}'" if case.step else "its answer"
    return Words(f"too much output: {who} is larger than {size} {case.allows}", advice.format("result"))


def _no_answer(case: _Case) -> Words:
    if case.kind == "step":
        return Words(f"no answer: {case.blame('ended without one')}", case.see("let the step return"))
    code = f" (exit code {escape(case.detail)})" if case.detail not in {"", "None"} else ""
    return Words(f"no answer: it ended without one{code}", case.see("let every step return"))


def _bad_answer(case: _Case) -> Words:
    if case.kind == "step":
        return Words(
            f"bad answer: {case.blame('answered what nobody can read')}", case.see("mend what the step returns")
        )
    return Words(
        "bad answer: what came out of the container was not written by our runner",
        "The recipe tampered with its runner; treat it as hostile. Nothing that it said was believed.",
    )


def _lost(case: _Case) -> Words:
    why = next((error.message for error in case.result.errors if error.type == "Lost"), "")
    told = f" ({clip(why, _MESSAGE_CHARS)})" if why else ""
    return Words(
        f"lost: the engine lost the container, so nothing that it did can be believed{told}",
        f"Run it again: `isolation rerun {case.result.run_id}`. If it stays so, see `isolation doctor`.",
    )


def _refused(case: _Case) -> Words:
    why = next((error.message for error in case.result.errors if error.type == "Refused"), "")
    told = f": {clip(why, _MESSAGE_CHARS)}" if why else ""
    return Words(
        f"refused: the cell was not confined as its policy asks, so nothing was delivered to it{told}",
        f"See `isolation show {case.result.run_id} --attestation` for each fact, and `isolation doctor` for this host.",
    )


def _conflict(case: _Case) -> Words:
    count = len(case.result.merge.conflicts)
    what = "a key was" if count == 1 else f"{count} keys were" if count else "keys were"
    return Words(
        f"conflict: {what} changed by somebody else since the run's snapshot; nothing was merged",
        f"Run it again on the context as it is now: `isolation rerun {case.result.run_id} --fresh-context`.",
    )


_EXPLAIN: dict[Outcome, Callable[[_Case], Words]] = {
    Outcome.SUCCEEDED: lambda _: Words("succeeded"),
    Outcome.FAILED: _failed,
    Outcome.OUT_OF_MEMORY: _out_of_memory,
    Outcome.TIMED_OUT: _timed_out,
    Outcome.TOO_MANY_PROCESSES: _too_many_processes,
    Outcome.DISK_FULL: _disk_full,
    Outcome.OUTPUT_LIMIT: _output_limit,
    Outcome.NO_ANSWER: _no_answer,
    Outcome.BAD_ANSWER: _bad_answer,
    Outcome.CANCELLED: lambda _: Words("cancelled: it was stopped from outside; nothing was merged"),
    Outcome.LOST: _lost,
    Outcome.REFUSED: _refused,
    Outcome.CONFLICT: _conflict,
}

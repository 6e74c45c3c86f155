"""
Shows a finished run to a person.

::

    sales  succeeded in 212 ms
    ...steps, usage, changes, conflicts, errors, artifacts: whichever there are...
    run 01f3...
      isolation show 01f3...    all of this again
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.attestation import attestation_line
from isolation.cli.effects import artifact_lines, change_lines, conflict_lines
from isolation.cli.gauge import usage_lines
from isolation.cli.marks import MARKS, STYLES
from isolation.cli.observed import observed_lines
from isolation.cli.paint import Paint
from isolation.cli.table import table
from isolation.cli.traffic import network_lines
from isolation.cli.values import clip
from isolation.cli.words import cached_from, explain
from isolation.rules.escape import escape
from isolation.sandbox.runtimes import limits_on_host
from isolation.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isolation.model.policy import Policy
    from isolation.model.run import Artifact, Result, StepReport

_NOTE_CHARS = 80
_LINES_OF_TRACEBACK = 40


def summary(
    result: Result,
    policy: Policy | None,
    where: Callable[[Artifact], str],
    paint: Paint = Paint(),  # noqa: B008 - frozen
    bill: Sequence[str] = (),
) -> str:
    """Write the whole summary; ``where`` tells where an artifact lies now, and ``bill`` has what the time went into."""
    steps = result.attempts[-1].steps if result.attempts else ()
    sections = [
        _headline(result, policy, paint),
        _attempt_lines(result),
        _step_lines(steps, paint),
        ["usage", *usage_lines(result.usage, limits_on_host(policy) if policy else None)],
        bill,
        network_lines(result.attempts[-1].network, paint) if result.attempts else [],
        _attestation_lines(result),
        observed_lines(result, paint),
        change_lines(result, paint),
        conflict_lines(result),
        _error_lines(result, paint),
        artifact_lines(result.artifacts, where),
        _next_lines(result, paint),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _headline(result: Result, policy: Policy | None, paint: Paint) -> list[str]:
    words = explain(result, policy)
    style = "green" if result.succeeded else "red"
    spent = "" if result.usage.wall_s is None else f" in {format_seconds(result.usage.wall_s)}"
    lines = [f"{paint('bold', clip(result.recipe, 100))}  {paint(style, words.sentence)}"]
    if result.succeeded:
        lines[0] += spent
    return [*lines, words.advice] if words.advice else lines


def _attempt_lines(result: Result) -> list[str]:
    if len(result.attempts) < 2:  # noqa: PLR2004 - one attempt is the rule and needs no list
        return []
    rows = [
        [str(attempt.number), attempt.outcome.value, escape(attempt.cause), format_seconds(attempt.usage.wall_s)]
        for attempt in result.attempts
    ]
    return ["attempts", *table([["", "outcome", "cause", "wall"], *rows], right=[3])]


def _attestation_lines(result: Result) -> list[str]:
    attestation = result.attempts[-1].attestation if result.attempts else None
    return [] if attestation is None else [f"confinement  {attestation_line(attestation)}"]


def _step_lines(steps: tuple[StepReport, ...], paint: Paint) -> list[str]:
    if not steps:
        return []
    rows = [["", "step", "outcome", "wall", "CPU", "note"], *(_step(step) for step in steps)]

    def painted(row: int, column: int, cell: str) -> str:
        if row == 0:
            return paint("dim", cell)
        return paint(STYLES[steps[row - 1].outcome], cell) if column in {0, 2} else cell

    return table(rows, right=[3, 4], indent="", paint=painted)


def _step(step: StepReport) -> list[str]:
    spent = [format_seconds(step.wall_s), format_seconds(step.cpu_s)]
    return [MARKS[step.outcome], clip(step.name, 100), step.outcome.value, *spent, _note(step)]


def _note(step: StepReport) -> str:
    if step.error is not None:
        text = f"{step.error.type}: {step.error.message}" if step.error.message else step.error.type
    else:
        text = cached_from(step) or step.reason or step.cause
    tries = f" (tried {step.tries} times)" if step.tries > 1 else ""
    return clip(text.splitlines()[0] if text else "", _NOTE_CHARS) + tries


def _error_lines(result: Result, paint: Paint) -> list[str]:
    lines: list[str] = []
    for error in result.errors:
        told = escape(error.traceback or f"{error.type}: {error.message}", lines=True).splitlines()
        if len(told) > _LINES_OF_TRACEBACK:
            left_out = f"... {len(told) - _LINES_OF_TRACEBACK} lines left out ..."
            told = [*told[: _LINES_OF_TRACEBACK // 2], left_out, *told[-_LINES_OF_TRACEBACK // 2 :]]
        whose = f"error in step {paint('bold', clip(error.step, 100))}" if error.step else "error outside of the steps"
        lines += [whose, *(f"  {line}" for line in told)]
    return lines


def _next_lines(result: Result, paint: Paint) -> list[str]:
    run_id = escape(result.run_id)
    rows = [
        [f"isolation show {run_id}", "this again"],
        [f"isolation logs {run_id}", "what it wrote"],
        [f"isolation rerun {run_id}", "the same once more"],
    ]
    dim = table(rows, paint=lambda _row, _column, cell: paint("dim", cell))
    return [f"run {paint('bold', run_id)}", *dim]

"""What ``EnhancedRecipeRunner.run_recipe`` returns, under Framework0's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.model.outcome import StepOutcome

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.model.changes import Merge
    from isolation.model.run import Result, StepReport

_NOT_RUN = {StepOutcome.SKIPPED, StepOutcome.DISABLED}


@dataclass(frozen=True, kw_only=True, slots=True)
class StepExecutionResult:
    """
    What became of one step.

    ``status`` is one of ``isolation.model.outcome.StepOutcome``. ``exit_code`` is 0 where it succeeded, 1 where it did
    not, None where it never ran. ``outputs_created`` are the names in ``outputs``, which ``run`` returned.
    ``execution_time_seconds`` is that of its last try.
    """

    step_name: str
    step_index: int
    module_name: str
    class_name: str
    status: str
    exit_code: int | None
    success: bool
    execution_time_seconds: float
    outputs_created: tuple[str, ...]
    outputs: JsonValue
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeExecutionResult:
    """
    What became of a run.

    ``status`` is one of ``isolation.model.outcome.Outcome``; ``overall_success`` tells that all of it succeeded, and
    that its changes are in the context. Where it did not, nothing of it is. ``success_rate`` is the share of its steps
    that succeeded, in per cent. ``run_id`` names the run for ``isolation show``; it is empty where it ran in this
    process.
    """

    recipe_path: str
    run_id: str
    status: str
    overall_success: bool
    execution_time_seconds: float
    start_time: datetime
    end_time: datetime
    total_steps: int
    completed_steps: int
    failed_steps: int
    skipped_steps: int
    success_rate: float
    context_keys_created: tuple[str, ...]
    global_errors: tuple[str, ...]
    global_warnings: tuple[str, ...]
    step_results: tuple[StepExecutionResult, ...]


def describe(
    result: Result,
    merge: Merge,
    *,
    path: Path,
    calls: dict[str, tuple[str, str]],
    times: tuple[datetime, datetime],
    created: tuple[str, ...],
    warnings: tuple[str, ...] = (),
) -> RecipeExecutionResult:
    """
    Put a result into Framework0's words.

    ``calls`` are each step's module and function, ``times`` when the run began and ended, ``created`` the keys that
    were not in the context before. What became of the changes is ``merge``'s word.
    """
    reports = result.attempts[-1].steps if result.attempts else ()
    steps = tuple(_step(index, report, calls) for index, report in enumerate(reports))
    merged = merge.status != "conflict"
    began, ended = times
    completed = sum(step.success for step in steps)
    skipped = sum(report.outcome in _NOT_RUN for report in reports)
    return RecipeExecutionResult(
        recipe_path=str(path),
        run_id=result.run_id,
        status=result.outcome.value if merged else "conflict",
        overall_success=result.succeeded and merged,
        execution_time_seconds=(ended - began).total_seconds(),
        start_time=began,
        end_time=ended,
        total_steps=len(steps),
        completed_steps=completed,
        failed_steps=len(steps) - completed - skipped,
        skipped_steps=skipped,
        success_rate=100.0 * completed / len(steps) if steps else 0.0,
        context_keys_created=created if result.succeeded and merged else (),
        global_errors=_errors(result, merge),
        global_warnings=warnings,
        step_results=steps,
    )


def _step(index: int, report: StepReport, calls: dict[str, tuple[str, str]]) -> StepExecutionResult:
    module, function = calls[report.name]
    ran = report.outcome not in _NOT_RUN
    succeeded = report.outcome is StepOutcome.SUCCEEDED
    error = f"{report.error.type}: {report.error.message}" if report.error else report.cause
    return StepExecutionResult(
        step_name=report.name,
        step_index=index,
        module_name=module,
        class_name=function,
        status=report.outcome.value,
        exit_code=(0 if succeeded else 1) if ran else None,
        success=succeeded,
        execution_time_seconds=report.wall_s or 0.0,
        outputs_created=tuple(sorted(report.outputs)) if isinstance(report.outputs, dict) else (),
        outputs=report.outputs,
        errors=() if succeeded or not ran else (error,),
        warnings=(report.reason,) if report.reason else (),
    )


def _errors(result: Result, merge: Merge) -> tuple[str, ...]:
    told = [f"{error.step}: {error.type}: {error.message}".removeprefix(": ") for error in result.errors]
    told += [
        f"the context key {one.key!r} was changed meanwhile by {one.their_writer!r}, to another value than the run's"
        for one in merge.conflicts
    ]
    if not result.succeeded and not told:
        told.append(f"the run ended as {result.outcome.value}: {result.cause}")
    return tuple(told)

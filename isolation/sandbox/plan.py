"""The plan: what the runner is told to do. Built from the recipe and the policy alone, on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isolation.contract import SECRET_HEADER
from isolation.model.outcome import Outcome
from isolation.rules.environment import is_on
from isolation.rules.retry import rule_for
from isolation.sandbox.egress.inside import way_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe, Step
    from isolation.model.secret import Secret
    from isolation.model.step_result import StepResult

_MOST_WORKERS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadlines:
    """Seconds for the whole attempt, and for one try of each step, by its place in the plan."""

    wall_s: float
    steps_s: tuple[float, ...]


def deadlines(recipe: Recipe, steps: Sequence[Step], policy: Policy) -> Deadlines:
    """Take the least of what recipe, step and policy allow."""
    limits = policy.limits
    return Deadlines(
        wall_s=min(limits.wall_s, recipe.execution.timeout_s or limits.wall_s),
        steps_s=tuple(_step_wall_s(step, limits.step_wall_s) for step in steps),
    )


def plan_document(
    recipe: Recipe, steps: Sequence[Step], policy: Policy, kept: Mapping[str, Sequence[StepResult]] | None = None
) -> dict[str, Any]:
    """
    Write the plan as the runner takes it: ``steps`` in the order of the run; it ``stays`` for more runs, or not.

    A step's time is the least of its own and the policy's. ``writes`` holds the recipe's globs and the policy's: a
    key must match both. ``merge`` is the policy's rule for steps that run at once, and how often one that is to be run
    again for a conflict is tried in all. ``kept`` are results of earlier runs that steps, by name, may take.
    """
    limits = policy.limits
    tries = rule_for(Outcome.CONFLICT, policy, recipe, rerun=True).attempts
    return {
        "steps": [_step(step, limits.step_wall_s, recipe.features) for step in steps],
        "workers": min(_MOST_WORKERS, len(steps)) if recipe.execution.parallel_execution else 1,
        "continue_on_error": recipe.execution.continue_on_error,
        "config": recipe.config,
        "features": recipe.features,
        "environment": recipe.environment,
        "writes": write_scope(recipe, policy),
        "merge": policy.merge.model_dump(mode="json") | {"attempts": tries},
        "limits": {"result_bytes": limits.result_bytes, "artifact_count": limits.artifact_count},
        "egress": way_out(policy.network),
        "determinism": _determinism(policy),
        "stays": policy.reuse == "package",
        "kept": {name: [result.document() for result in results] for name, results in (kept or {}).items()},
    }


def _determinism(policy: Policy) -> dict[str, Any]:
    held = policy.determinism
    return {
        "seed": None if held.seed == "random" else held.seed,
        "directory_order": held.directory_order,
        "cpu_count": held.cpus_told(policy.limits.cpus),
    }


def write_scope(recipe: Recipe, policy: Policy) -> list[list[str]]:
    """Return lists of globs; a key may be written if it matches one of each list."""
    return _scope(recipe.context.writes, policy.context.writes)


def read_scope(recipe: Recipe, policy: Policy) -> list[list[str]]:
    """Return lists of globs; the run sees those keys of the shared context that match one of each list."""
    return _scope(recipe.context.reads, policy.context.reads)


def secrets_payload(secrets: Mapping[str, Secret]) -> bytes:
    """Write the secrets as the runner takes them, after the plan and apart from it: lengths and bytes, no text."""
    named = [(name.encode(), secret.reveal().encode()) for name, secret in secrets.items()]
    return b"".join(SECRET_HEADER.pack(len(name), len(value)) + name + value for name, value in named)


def _scope(declared: Sequence[str] | None, allowed: Sequence[str]) -> list[list[str]]:
    return [[*allowed], *([] if declared is None else [[*declared]])]


def _why_disabled(step: Step, features: dict[str, bool]) -> str:
    if step.enabled:
        return ""
    if is_on(step, features):
        return "enabled: false"
    return f"the feature {str(step.feature).removeprefix('!')!r} is {'on' if str(step.feature)[0] == '!' else 'off'}"


def _step(step: Step, longest_s: float, features: dict[str, bool]) -> dict[str, Any]:
    return {
        "name": step.name,
        "module": step.module,
        "function": step.function,
        "args": step.args,
        "args_from": [filled.model_dump(mode="json") for filled in step.args_from],
        "depends_on": [*step.depends_on],
        "secrets": [*step.secrets],
        "ctx_has_keys": [*step.success.ctx_has_keys],
        "timeout_s": _step_wall_s(step, longest_s),
        "retry_count": step.retry_count,
        "retry_delay_s": step.retry_delay_s,
        "disabled": _why_disabled(step, features),
        "cache": step.cache,
    }


def _step_wall_s(step: Step, longest_s: float) -> float:
    return min(step.timeout_s or longest_s, longest_s)

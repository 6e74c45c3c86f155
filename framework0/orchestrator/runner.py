"""
Framework0's way to run a recipe from a program: isolated, with the program's own context.

    context ─freeze─▶ the run, in a container ─▶ changes ─merge─▶ context, all of them or none
"""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict, Unpack, cast

import isolation
from isolation.errors import InputError
from isolation.model.adjustments import Adjustments
from isolation.model.outcome import Outcome
from isolation.rules.retry import rule_for
from isolation.units import parse_seconds
from orchestrator.context import Context
from orchestrator.homes import home_of
from orchestrator.result import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import JsonValue

    from isolation.controller import Controller
    from isolation.model.policy import Policy
    from isolation.model.run import Result
    from isolation.prepared import Prepared
    from orchestrator.homes import Frozen
    from orchestrator.inprocess import InProcess
    from orchestrator.kept import KeptContext
    from orchestrator.result import RecipeExecutionResult


class Choices(TypedDict, total=False):
    """
    How a recipe is run.

    ``only`` and ``skip`` name steps. Without ``continue_on_error`` (the default) no step begins after one that failed;
    the recipe's own word does not count here. ``step_timeout`` is in seconds or a text with a unit, as ``retry_delay``
    is, which passes before each of ``max_retries`` further tries of a step. ``policy`` is a name, a file or a Policy.
    Without ``isolated`` it runs in this process, for a debugger, and nothing confines it.
    """

    only: Sequence[str]
    skip: Sequence[str]
    continue_on_error: bool
    step_timeout: float | str | None
    max_retries: int | None
    retry_delay: float | str | None
    policy: Policy | str | None
    isolated: bool


@dataclass(frozen=True, slots=True)
class _Ran:
    """A run that has ended, and is not merged yet."""

    result: Result
    began: datetime
    ended: datetime


class EnhancedRecipeRunner:
    """
    Runs recipes on a context; safe to use from several threads.

    The context goes in as the snapshot, as far as recipe and policy let it be seen, and what a run that succeeds
    changes is merged into it as one. For a KeptContext that happens where it is kept, whatever ``state`` says: the
    folder where runs are recorded. ``engine`` is the Docker Engine, ``paths`` are further folders with modules,
    ``secrets`` values by name; what is not given is as on the command line. Without ``isolated``, recipes run in this
    process, for a debugger: nothing confines them, nothing is recorded, and every run says so.
    """

    def __init__(
        self,
        context: Context | KeptContext | None = None,
        *,
        policy: Policy | str | None = None,
        state: Path | str | None = None,
        engine: str | None = None,
        paths: Sequence[Path | str] = (),
        secrets: Mapping[str, str] | Path | str | None = None,
        idle: int = 0,
        isolated: bool = True,
    ) -> None:
        self.context = context if context is not None else Context()
        self._home = home_of(self.context)
        self._policy = policy
        self._isolated = isolated
        self._paths, self._secrets = paths, secrets
        opening = {"state": state} | self._home.opening()
        self._opened = partial(
            isolation.open_controller, **opening, engine=engine, paths=paths, secrets=secrets, idle=idle
        )
        self._lock = threading.Lock()
        self._controller: Controller | None = None
        self._running: set[threading.Event] = set()
        self._history: list[RecipeExecutionResult] = []

    def run_recipe(self, recipe_path: Path | str, **choices: Unpack[Choices]) -> RecipeExecutionResult:
        """
        Run a recipe, a file or a folder with one, and return how it ended; its failure is a result.

        Raises isolation.IsolationError for what is not the recipe's failure: a file that is none, a step that does not
        exist, a limit that cannot be held, an engine that is away.
        """
        prepared, frozen = self._prepare(recipe_path, choices), self._home.freeze({})
        return self._settle(prepared, frozen, self._run(prepared, frozen), Path(recipe_path), set())

    def run_many(
        self,
        recipe_path: Path | str,
        inputs: Iterable[Mapping[str, JsonValue]],
        *,
        workers: int | None = None,
        **choices: Unpack[Choices],
    ) -> list[RecipeExecutionResult]:
        """
        Run a recipe once for each of ``inputs``, ``workers`` at once, and return how each ended, in their order.

        Each holds context values that its run alone sees, over those of the context. All see the context as it was at
        the beginning; then they are merged in the order of their inputs, and where two set one key the later wins, as
        if they had been run one after another. What others set meanwhile is in conflict, as for ``run_recipe``.
        Into a KeptContext each is merged when it ends, and the policy says what becomes of two that set one key.
        """
        prepared, path, made = self._prepare(recipe_path, choices), Path(recipe_path), set[int]()
        given = [self._home.freeze(values) for values in inputs]
        with ThreadPoolExecutor(workers) as threads:
            runs = [threads.submit(self._run, prepared, frozen) for frozen in given]
            try:
                return [
                    self._settle(prepared, frozen, run.result(), path, made)
                    for frozen, run in zip(given, runs, strict=True)
                ]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self.cancel_execution()
                raise

    def cancel_execution(self) -> bool:
        """End what runs, and merge nothing of it; tells whether anything did. The runner can run again."""
        with self._lock:
            running = [*self._running]
        for cancel in running:
            cancel.set()
        return bool(running)

    def get_execution_history(self) -> list[RecipeExecutionResult]:
        """Return how the runs of this runner ended, in the order of their ends."""
        with self._lock:
            return [*self._history]

    def get_execution_statistics(self) -> dict[str, float | int]:
        """Count the runs of this runner; times are in seconds, rates in per cent, of no runs 0."""
        history = self.get_execution_history()
        took_s = [one.execution_time_seconds for one in history]
        succeeded = sum(one.overall_success for one in history)
        return {
            "total_executions": len(history),
            "successful_executions": succeeded,
            "failed_executions": len(history) - succeeded,
            "success_rate": 100.0 * succeeded / len(history) if history else 0.0,
            "total_execution_time_seconds": sum(took_s),
            "average_execution_time_seconds": sum(took_s) / len(history) if history else 0.0,
        }

    def close(self) -> None:
        """Let go of the engine and the state folder; a run that follows opens them again."""
        with self._lock:
            controller, self._controller = self._controller, None
        if controller is not None:
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Controller:
        with self._lock:
            if self._controller is None:
                self._controller = self._opened()
                self._finalizer = weakref.finalize(self, self._controller.close)
            return self._controller

    def _prepare(self, path: Path | str, choices: Choices) -> Prepared | InProcess:
        adjustments = Adjustments(
            continue_on_error=choices.get("continue_on_error", False),
            step_timeout_s=_seconds("step_timeout", choices.get("step_timeout")),
            max_retries=choices.get("max_retries"),
            retry_delay_s=_seconds("retry_delay", choices.get("retry_delay")),
        )
        policy = choices.get("policy") or self._policy
        only, skip = choices.get("only", ()), choices.get("skip", ())
        if choices.get("isolated", self._isolated):
            return self._open().prepare(
                Path(path), policy=policy, only=only, skip=skip, adjustments=adjustments, apart=self._home.apart
            )
        self._check_unisolated(adjustments)
        from orchestrator import inprocess  # slow to import, and few programs want it

        prepared = inprocess.prepare(
            recipe=path,
            policy=policy,
            only=only,
            skip=skip,
            adjustments=adjustments,
            paths=self._paths,
            secrets=self._secrets,
        )
        said = f"the recipe {prepared.recipe.name!r} runs in this process, not isolated: nothing confines it"
        sys.stderr.write(f"isolation: {said}\n")
        warnings.warn(said, inprocess.NotIsolatedWarning, stacklevel=3)
        return prepared

    def _check_unisolated(self, adjustments: Adjustments) -> None:
        if adjustments.step_timeout_s is not None:
            raise InputError(
                "step_timeout cannot be held in this process", hint="Leave it out, or run the recipe isolated."
            )
        if not self._home.apart:
            raise InputError(
                "a recipe that is not isolated never touches a context that is kept",
                hint="Run it on a copy: context = Context(); context.merge_from(kept).",
            )

    def _run(self, prepared: Prepared | InProcess, frozen: Frozen) -> _Ran:
        began, cancel = datetime.now(UTC), threading.Event()
        with self._lock:
            self._running.add(cancel)
        try:
            return _Ran(prepared.run(frozen.values, cancel=cancel), began, datetime.now(UTC))
        finally:
            with self._lock:
                self._running.discard(cancel)

    def _settle(
        self, prepared: Prepared | InProcess, frozen: Frozen, ran: _Ran, path: Path, made: set[int]
    ) -> RecipeExecutionResult:
        """Merge, and run again where the policy wants that of a conflict; ``made`` are writes that stand in no way."""
        tries = rule_for(Outcome.CONFLICT, prepared.policy, prepared.recipe, rerun=True).attempts
        merge = self._home.merge(frozen, ran.result, prepared.policy.merge, made)
        while self._home.apart and merge.rerun and (tries := tries - 1) > 0:
            frozen = self._home.freeze(frozen.inputs)
            ran = replace(self._run(prepared, frozen), began=ran.began)
            merge = self._home.merge(frozen, ran.result, prepared.policy.merge, made)
        ended = describe(
            ran.result,
            merge,
            path=path,
            calls={step.name: (step.module, step.function) for step in prepared.recipe.steps},
            times=(ran.began, ran.ended),
            created=self._home.created(frozen, ran.result, merge),
            warnings=() if ran.result.run_id else cast("InProcess", prepared).warnings(),
        )
        with self._lock:
            self._history.append(ended)
        return ended


def _seconds(word: str, time: float | str | None) -> float | None:
    try:
        return None if time is None else parse_seconds(time)
    except ValueError as error:
        raise InputError(f"{word} cannot be {time!r}", hint="Write seconds, or a text with a unit: 30s.") from error

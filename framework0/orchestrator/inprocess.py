"""
A recipe that is run in this process, to debug or to test its scriptlets: nothing is isolated.

    plan ─▶ each step in its order, tried as often as it may be ─▶ changes ─▶ result, as of a run in a container

What is judged there is judged here by the same rules; what is enforced there is not.
"""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isolation.clock import SystemClock, timestamp
from isolation.context.freezing import apart
from isolation.model.changes import Merge
from isolation.model.event import Retrying, RunStarted
from isolation.model.run import Attempt, Digests, Result
from isolation.model.usage import Usage
from isolation.order import Wanted
from isolation.packaging.data import data_files
from isolation.packaging.modules import Modules
from isolation.packaging.pack import existing
from isolation.prepared import teller
from isolation.rules.entitlement import secrets_of
from isolation.rules.judge import judge
from isolation.rules.observe import observe
from isolation.rules.order import order
from isolation.rules.retry import is_wanted, next_delay, rule_for
from isolation.settings import load_settings
from isolation.vault import Vault
from orchestrator.inside import Checked, Inside, places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from pydantic import JsonValue

    from isolation.model.event import Watcher
    from isolation.model.evidence import Evidence
    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe
    from isolation.packaging.load import LoadedRecipe

_ALONE = threading.RLock()
"""There is one working directory, and one list of modules: one run at a time has them."""


class NotIsolatedWarning(UserWarning):
    """A recipe is run in this process, where nothing confines it."""


@dataclass(frozen=True, kw_only=True)
class InProcess(Checked):
    """A recipe that can be run here as often as wanted, as ``isolation.prepared.Prepared`` is in cells."""

    def run(
        self,
        context: Mapping[str, JsonValue] | None = None,
        *,
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
    ) -> Result:
        """
        Run it on a copy of what it may see of ``context``, and return how it ended; nothing is merged or recorded.

        A run that is cancelled ends when its step does. What a debugger's end raises goes through.
        """
        tell, cancel, made = teller(watcher), cancel or threading.Event(), list[Attempt]()
        seen = apart(self.recipe.context.reads, self.policy.context.reads, context or {}).values
        steps = order(self.recipe.steps)
        tell(RunStarted(run_id="", recipe=self.recipe.name, steps=tuple(step.name for step in steps)))
        with _ALONE, places(self.folder, self.scratch):
            while True:
                began = timestamp(SystemClock().now())
                evidence = Inside(self, steps, dict(seen), tell if watcher else None, cancel).evidence()
                outcome, cause = judge(evidence)
                made.append(
                    Attempt(number=len(made) + 1, outcome=outcome, cause=cause, started_at=began, steps=evidence.steps)
                )
                wait_s = None if cancel.is_set() else self._wait_s(made)
                if wait_s is None:
                    return self._result(made, evidence)
                tell(Retrying(attempt=len(made), outcome=outcome.value, cause=cause, wait_s=round(wait_s, 3)))
                cancel.wait(wait_s)

    def warnings(self) -> tuple[str, ...]:
        """Tell what is not as in a container."""
        told = [f"the recipe {self.recipe.name!r} ran in this process, not isolated: nothing confined it"]
        timed = [step.name for step in self.recipe.steps if step.timeout_s is not None]
        if timed:
            told.append(f"the timeout of {', '.join(timed)} was not held")
        if self.recipe.requirements:
            told.append("its requirements were not installed: what this Python has was used")
        if (self.scratch / "artifacts").is_dir():
            told.append(f"its artifacts are in {self.scratch / 'artifacts'}")
        return tuple(told)

    def _wait_s(self, made: Sequence[Attempt]) -> float | None:
        """Return the seconds until another attempt, or None if none follows."""
        last = made[-1]
        rule = rule_for(last.outcome, self.policy, self.recipe)
        if not is_wanted(rule, [step.error.type for step in last.steps if step.error is not None]):
            return None
        return next_delay(rule, [attempt.outcome for attempt in made])

    def _result(self, made: Sequence[Attempt], evidence: Evidence) -> Result:
        return Result(
            run_id="",
            recipe=self.recipe.name,
            outcome=made[-1].outcome,
            attempts=tuple(made),
            usage=Usage(),
            changes=evidence.changes,
            merge=Merge(),
            errors=tuple(step.error for step in evidence.steps if step.error is not None),
            artifacts=(),
            digests=Digests(package="", snapshot="", policy="", image=""),
            engine=None,
            context=observe(self.recipe.context, self.policy.context.reads, evidence.steps),
        )


def prepare(
    recipe: Path | str,
    *,
    policy: Policy | str | None = None,
    environment: str | None = None,
    paths: Sequence[Path | str] = (),
    secrets: Mapping[str, str] | Path | str | None = None,
    scratch: Path | None = None,
    given: Mapping[str, ModuleType] | None = None,
    **chosen: Any,  # noqa: ANN401 - as Wanted has them
) -> InProcess:
    """
    Load and check a recipe as for a container; what is not said is as there, and a fresh folder is the ``scratch``.

    ``chosen`` may be ``only``, ``skip`` and ``adjustments``. Where modules are ``given``, no others are looked for.
    Raises IsolationError for whatever is named and not there.
    """
    file, told = (secrets, None) if isinstance(secrets, str | Path) else (None, secrets)
    settings = load_settings(environment=environment, paths=paths, secrets=file)
    policy, environment = policy or settings.policy, settings.environment
    wanted = Wanted(recipe=recipe, policy=policy, context={}, environment=environment, **chosen)
    loaded, read, allowed = wanted.read()
    vault = Vault(given=told, file=settings.secrets, environment=os.environ)
    values = vault.take(secrets_of(read, allowed))
    roots = [loaded.folder, *(existing(path) for path in settings.paths)]
    if not given:
        _check(loaded, read, roots)
    return InProcess(
        recipe=read,
        policy=allowed,
        folder=loaded.folder,
        roots=roots,
        scratch=scratch or Path(tempfile.mkdtemp(prefix="isolation-")),
        secrets=values,
        given=given or {},
    )


def _check(loaded: LoadedRecipe, recipe: Recipe, roots: Sequence[Path]) -> None:
    installed = frozenset(packages_distributions() if recipe.requirements else ())
    modules = Modules(
        roots,
        installed,
        lambda _path, _content: None,
        lambda step, key: (loaded.path, loaded.step_line(step.name, key)),
    )
    modules.collect(step for step in recipe.steps if step.enabled)
    data_files(recipe, loaded)

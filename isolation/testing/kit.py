"""Runs a scriptlet or a recipe for a test, in this process or in a container; with a context that the test has."""

from __future__ import annotations

import inspect
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from isolation.errors import InputError, IsolationError
from isolation.model.adjustments import NO_ADJUSTMENTS
from isolation.testing.ran import Listener, ran

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from isolation.model.adjustments import Adjustments
    from isolation.model.policy import Policy
    from isolation.model.run import Result
    from isolation.prepared import Prepared
    from isolation.testing.ran import Ran
    from orchestrator.context import Context
    from orchestrator.inprocess import InProcess

Where = Literal["process", "container"]


class RunScriptlet(Protocol):
    """What the fixture ``run_scriptlet`` gives."""

    def __call__(
        self,
        scriptlet: object,
        params: Mapping[str, JsonValue] | None = None,
        *,
        config: Mapping[str, JsonValue] | None = None,
        features: Mapping[str, bool] | None = None,
        secrets: Mapping[str, str] | None = None,
        requirements: Sequence[str] = (),
        policy: Policy | str | None = None,
    ) -> Ran:
        """
        Run a scriptlet as the one step of a recipe, and return how it ended.

        ``scriptlet`` is a class or a function, or their names as ``module:Name``; the module is looked for beside the
        test, in the session's ``isolation_paths``, and among the built-in ones. What is given as it is, is called as
        it is in this process, with all that the test put in its place. It may have the ``secrets``, whatever the policy
        says. Raises IsolationError.
        """


class RunRecipe(Protocol):
    """What the fixture ``run_recipe`` gives."""

    def __call__(
        self,
        recipe: Path | str,
        *,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
        environment: str | None = None,
        policy: Policy | str | None = None,
        adjustments: Adjustments | None = None,
    ) -> Ran:
        """Run a recipe, whose path begins at the test's folder, and return how it ended. Raises IsolationError."""


class _Named(NamedTuple):
    """A scriptlet: where its module is to be looked for, and what it is where it is here already."""

    module: str
    function: str
    root: Path | None = None
    target: object = None


@dataclass(frozen=True, kw_only=True)
class Kit:
    """
    What one test runs with.

    ``folder`` is the test's own, ``paths`` are further ones with modules; ``scratch`` is an empty folder, and ``state``
    the one where runs in containers are recorded.
    """

    where: Where
    context: Context
    folder: Path
    paths: Sequence[Path]
    scratch: Path
    state: Path

    def scriptlet(
        self,
        scriptlet: object,
        params: Mapping[str, JsonValue] | None = None,
        *,
        config: Mapping[str, JsonValue] | None = None,
        features: Mapping[str, bool] | None = None,
        secrets: Mapping[str, str] | None = None,
        requirements: Sequence[str] = (),
        policy: Policy | str | None = None,
    ) -> Ran:
        """Do as ``RunScriptlet`` says."""
        with _hints():
            named = _named(scriptlet)
        names = [*(secrets or {})]
        step = {"name": named.function, "module": named.module, "function": named.function, "args": dict(params or {})}
        recipe = {
            "metadata": {"name": named.function, "requirements": [*requirements]},
            "config": dict(config or {}),
            "features": dict(features or {}),
            "secrets": names,
            "steps": [step | {"secrets": names}],
        }
        folder = self._empty("recipe")
        (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
        paths = [*([named.root] if named.root else ()), self.folder, *self.paths]
        with _hints():
            policy = _allowing(policy, names)
            if self.where == "process":
                prepared = self._here(folder, paths=paths, secrets=secrets, policy=policy, given=_given(named))
                return self._carry_out(prepared, alone=named.function)
            _check_can_be_packed(named)
            return self._in_a_container(folder, paths=paths, secrets=secrets, policy=policy, alone=named.function)

    def recipe(
        self,
        recipe: Path | str,
        *,
        only: Sequence[str] = (),
        skip: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
        environment: str | None = None,
        policy: Policy | str | None = None,
        adjustments: Adjustments | None = None,
    ) -> Ran:
        """Do as ``RunRecipe`` says."""
        chosen: dict[str, Any] = {"only": only, "skip": skip, "adjustments": adjustments or NO_ADJUSTMENTS}
        more: dict[str, Any] = {"secrets": secrets, "environment": environment, "paths": self.paths}
        path = self.folder / recipe
        with _hints():
            more["policy"] = _allowing(policy, [*(secrets or {})])
            if self.where == "process":
                return self._carry_out(self._here(path, **chosen, **more))
            return self._in_a_container(path, chosen=chosen, **more)

    def _here(
        self,
        recipe: Path,
        given: Mapping[str, ModuleType] | None = None,
        **choices: Any,  # noqa: ANN401 - as above
    ) -> InProcess:
        from orchestrator import inprocess  # noqa: PLC0415 - slow to import

        return inprocess.prepare(recipe, given=given or {}, scratch=self._empty("scratch"), **choices)

    def _in_a_container(
        self,
        recipe: Path,
        *,
        paths: Sequence[Path],
        secrets: Mapping[str, str] | None,
        policy: Policy,
        environment: str | None = None,
        chosen: Mapping[str, Any] | None = None,
        alone: str = "",
    ) -> Ran:
        from isolation.api import open_controller  # noqa: PLC0415 - slow to import

        with open_controller(
            state=self.state, environment=environment, paths=paths, secrets=dict(secrets or {})
        ) as controller:
            prepared = controller.prepare(recipe, policy=policy, apart=True, **(chosen or {}))
            result, listener = self._merged(prepared)
            artifacts = {one.name: controller.stores.blobs.get(one.digest) for one in result.artifacts}
        return ran(result, listener.logs, artifacts, alone=alone)

    def _carry_out(self, prepared: InProcess, alone: str = "") -> Ran:
        result, listener = self._merged(prepared)
        folder = prepared.scratch / "artifacts"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        artifacts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        return ran(result, listener.logs, artifacts, alone=alone)

    def _merged(self, prepared: Prepared | InProcess) -> tuple[Result, Listener]:
        """Run it on the test's context, and merge what it changed, as an application's runner does."""
        from orchestrator.homes import home_of  # noqa: PLC0415 - slow to import

        home, listener = home_of(self.context), Listener()
        frozen = home.freeze({})
        result = prepared.run(frozen.values, watcher=listener)
        home.merge(frozen, result, prepared.policy.merge, set())
        return result, listener

    def _empty(self, name: str) -> Path:
        number = sum(1 for _ in self.scratch.iterdir())
        folder = self.scratch / f"{name}-{number}"
        folder.mkdir()
        return folder


def _named(scriptlet: object) -> _Named:
    """Find out what is meant. Raises InputError for what is no scriptlet."""
    if isinstance(scriptlet, str):
        module, _, function = scriptlet.partition(":")
        if not module or not function:
            raise InputError(f"{scriptlet!r} names no scriptlet", hint="Write module:Name.")
        return _Named(module, function)
    kind: Any = scriptlet if inspect.isclass(scriptlet) or inspect.isfunction(scriptlet) else type(scriptlet)
    if not inspect.isfunction(kind) and not hasattr(kind, "run"):
        raise InputError(
            f"{scriptlet!r} is no scriptlet: it has no run()", hint="Give a class, a function or module:Name."
        )
    module, root = _home(kind)
    return _Named(module, kind.__name__, root, scriptlet)


def _home(kind: Any) -> tuple[str, Path | None]:  # noqa: ANN401 - a class or a function
    """Return the module of a scriptlet, and the folder below which a recipe would find it; None: there is no file."""
    name: str = kind.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name, None
    path = Path(file).resolve()
    parts, found = name.split("."), path.parent if path.name == "__init__.py" else path.with_suffix("")
    if [*found.parts[-len(parts) :]] == parts:
        return name, found.parents[len(parts) - 1]
    return found.name, found.parent


def _allowing(policy: Policy | str | None, secrets: Sequence[str]) -> Policy:
    """Return the policy that is meant, which lets a recipe have the secrets that its test gives."""
    from isolation.packaging.policy import load_policy  # noqa: PLC0415 - slow to import
    from isolation.settings import load_settings  # noqa: PLC0415 - as above

    if policy is None or isinstance(policy, str):
        policy = load_policy(policy or load_settings().policy)
    return policy.model_copy(update={"secrets": (*policy.secrets, *secrets)})


def _given(named: _Named) -> dict[str, ModuleType]:
    """Have what the test gave called as it is, with all that the test put in its place."""
    if named.target is None:
        return {}
    module = ModuleType(named.module)
    setattr(module, named.function, named.target)
    return {named.module: module}


def _check_can_be_packed(named: _Named) -> None:
    """Refuse what only this process has."""
    if named.target is None:
        return
    kind = named.target
    if getattr(kind, "__qualname__", "") != named.function or named.root is None:
        raise InputError(
            f"{kind!r:.100} cannot be run in a container: it is nothing that a module's file defines at its top",
            hint="Give the class or the function itself, from a module of its own.",
        )


@contextmanager
def _hints() -> Iterator[None]:
    """Have pytest show what to do, too."""
    try:
        yield
    except IsolationError as error:
        if error.hint:
            error.add_note(error.hint)
        raise

"""
Every folder below recipes/ is run on the real engine, and must come out as its expected.yaml says, on every runtime.

What differs on gVisor is a short list, with the reasons: ``ON_GVISOR``.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

import psutil
import pytest
from pydantic import BeforeValidator, Field, JsonValue

from isolation.clock import timestamp
from isolation.model.event import RunStarted, StepStarted
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.recipe import Strict
from isolation.packaging.policy import load_policy
from isolation.packaging.shape import shape
from isolation.packaging.text import read
from isolation.sandbox.cell import run_of
from isolation.sandbox.egress.folder import Egresses
from isolation.sandbox.groups.make import leftover_groups
from isolation.sandbox.leases import Leases, leases_folder
from isolation.sandbox.stage import staged
from isolation.settings import Settings
from isolation.units import parse_bytes
from isolation.wiring import open_controller
from tests.conftest import on_gvisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _pytest.mark.structures import ParameterSet

    from isolation.controller import Controller
    from isolation.model.event import Event
    from isolation.model.policy import Policy
    from isolation.model.run import Result
    from isolation.sandbox.egress.resolver import Resolver

pytestmark = pytest.mark.engine

RECIPES = Path(__file__).parent.parent / "recipes"
FILES = ("recipe.yaml", "recipe.yml", "recipe.json", "expected.yaml")
NEED_SERVERS = {RECIPES / "api", RECIPES / "database"}
"""They are run by tests/test_integrations.py, which has some."""
FOLDERS = sorted({path.parent for path in RECIPES.rglob("*.*") if path.name in FILES} - NEED_SERVERS)

Json = dict[str, JsonValue]
Number = Annotated[float, BeforeValidator(lambda value: parse_bytes(value) if isinstance(value, str) else value)]


class Bounds(Strict):
    """Within which a measured number must lie; text such as 64MiB is a size."""

    at_least: Number | None = None
    at_most: Number | None = None


class ExpectedStep(Strict):
    """How a step must end. ``tries`` and ``outputs`` are compared where they are stated."""

    name: str
    outcome: Annotated[StepOutcome, BeforeValidator(StepOutcome)]
    cause: str = ""
    reason: str = ""
    tries: int | None = None
    outputs: JsonValue = None


class ExpectedError(Strict):
    """An error that must be told; ``message`` is compared where it is stated."""

    step: str
    type: str
    message: str | None = None


class ExpectedConflict(Strict):
    """A key that two wrote, or one only ``read``."""

    key: str
    ours: JsonValue
    theirs: JsonValue
    our_writer: str
    their_writer: str
    read: bool = False


class Expected(Strict):
    """
    What must come out of a recipe. What is left out must be empty, or is compared only where it is stated.

    ``before``, ``meanwhile`` and ``secrets`` are no expectations: what is in the context when the run begins, what
    somebody else writes to it when the first step has started, and what the controller is given.
    """

    before: Json = Field(default_factory=dict)
    meanwhile: Json = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    outcome: Annotated[Outcome, BeforeValidator(Outcome)]
    cause: str = ""
    steps: list[ExpectedStep]
    merge: Literal["none", "merged", "conflict"] = "none"
    set: Json = Field(default_factory=dict)
    deleted: list[str] = Field(default_factory=list)
    conflicts: list[ExpectedConflict] = Field(default_factory=list)
    artifacts: list[str] = Field(default_factory=list)
    errors: list[ExpectedError] = Field(default_factory=list)
    writers: dict[str, str] | None = None
    log: list[str] | None = None
    log_bytes: Bounds = Bounds()
    log_truncated: bool = False
    overlapping: list[str] | None = None
    usage: dict[str, Bounds] = Field(default_factory=dict)


class Witness:
    """Watches a run: remembers its uids while they are leased, and writes ``meanwhile``."""

    def __init__(self, controller: Controller, meanwhile: Json) -> None:
        self._controller = controller
        self._meanwhile = dict(meanwhile)
        self.run_id = ""
        self.uids: set[int] = set()

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self.run_id = event.run_id
        if isinstance(event, StepStarted):
            self.uids |= set(held_uids(self.run_id))
            write(self._controller, self._meanwhile)
            self._meanwhile.clear()


UNTOLD: Json = {"steps": "unknown", "errors": []}
ON_GVISOR: dict[str, Json] = {
    # The host's kernel kills gVisor itself, and with it everybody who could tell more.
    "fills-memory": UNTOLD,
    "fills-memory-in-a-child": UNTOLD,
    # A thread that the host refuses is mostly one of gVisor's own; it dies of that, and the count of it with its group.
    "forks-without-end": {**UNTOLD, "usage": {"pids_peak": {"at_least": 64 + 2 * 16}}},
    # In Linux nothing in a container can kill its first process; in gVisor a process of the same user can.
    "kills-its-runner": {**UNTOLD, "outcome": "no_answer", "cause": "exit_code:137"},
}
"""What comes out otherwise than expected.yaml says."""
SOMETIMES_ON_GVISOR: dict[str, Json] = {
    # The thread that the host refuses is the one that would have stood for the new process: the step is told.
    "forks-without-end": {"usage": {"pids_peak": {"at_least": 64 + 2 * 16}}},
}
"""What may come out instead."""
NOT_ON_GVISOR = {
    "fills-inodes": "gVisor counts no inodes, and a policy that limits them is refused with it",
    "reaches-for-more": "gVisor lets no container connect to a socket of the host, so an allow-list is refused with it",
}


def parameters(*, but: Mapping[str, str] = MappingProxyType({})) -> list[ParameterSet]:
    return [
        pytest.param(
            folder,
            id=str(folder.relative_to(RECIPES)),
            marks=[pytest.mark.requirements] if folder.name == "requirements" else [],
        )
        for folder in FOLDERS
        if folder.name not in but
    ]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("folder", parameters())
def test_a_recipe_comes_out_as_its_folder_says(folder: Path, tmp_path: Path) -> None:
    """The examples are what people copy and what the documents cite, so each of them is held to its word."""
    check_recipe(folder, tmp_path, policy_of(folder), read_expected(folder / "expected.yaml"))


@pytest.mark.slow
@pytest.mark.usefixtures("engine", "crun")
@pytest.mark.parametrize("folder", parameters())
def test_a_recipe_comes_out_the_same_under_crun(folder: Path, tmp_path: Path) -> None:
    """Both start processes of the host's kernel; nothing differs."""
    policy = policy_of(folder).model_copy(update={"runtime": "crun"})
    check_recipe(folder, tmp_path, policy, read_expected(folder / "expected.yaml"))


@pytest.mark.slow
@pytest.mark.usefixtures("engine", "runsc")
@pytest.mark.parametrize("folder", parameters(but=NOT_ON_GVISOR))
def test_a_recipe_comes_out_the_same_under_gvisor_but_for_a_short_list(folder: Path, tmp_path: Path) -> None:
    """Limits end in the same outcome there, though another kernel runs the recipe."""
    expected = read_expected(folder / "expected.yaml").model_dump(mode="json")
    instead = [expected | SOMETIMES_ON_GVISOR[folder.name]] if folder.name in SOMETIMES_ON_GVISOR else []
    changed = dict(ON_GVISOR.get(folder.name, {}))
    if changed.pop("steps", None):
        untold = [{"name": step["name"], "outcome": "unknown"} for step in expected["steps"]]
        expected = expected | {"steps": untold}
    accepted = [Expected.model_validate(one) for one in (expected | changed, *instead)]
    check_recipe(folder, tmp_path, on_gvisor(policy_of(folder)), *accepted)


def policy_of(folder: Path) -> Policy:
    policy = folder / "policy.yaml"
    return load_policy(policy if policy.exists() else "default")


def check_recipe(
    folder: Path, tmp_path: Path, policy: Policy, expected: Expected, *instead: Expected, names: Resolver | None = None
) -> None:
    with open_controller(Settings(state=tmp_path / "state"), secrets=expected.secrets) as controller:
        if names is not None:
            controller.cells._egresses = Egresses(controller.clock, resolver=names)
        write(controller, expected.before)
        before = controller.stores.contexts.version()
        witness = Witness(controller, expected.meanwhile)

        result = controller.run(folder, policy=policy, watcher=witness)

        expected = next((one for one in instead if said(found_in(result, one)) == said(one)), expected)
        assert said(found_in(result, expected)) == said(expected)
        check_log(controller, result, expected)
        check_usage(result, expected)
        check_overlap(result, expected.overlapping or [])
        check_context(controller, expected, before)
        check_nothing_is_left(controller, result.run_id, witness.uids)


def test_there_are_recipes() -> None:
    """A test over a folder that is not found would be green for ever."""
    assert len(FOLDERS) > 20


def read_expected(path: Path) -> Expected:
    assert path.exists(), f"{path.parent} does not say what must come out: write its {path.name}"
    return shape(Expected, read(path.read_bytes(), path), path)


def write(controller: Controller, values: Json) -> None:
    for key, value in values.items():
        controller.stores.contexts.set(key, value, "somebody else", timestamp(controller.clock.now()))


def held_uids(run_id: str) -> list[int]:
    return [lease.uid for lease in Leases(leases_folder()).held() if run_of(lease.cell) == run_id]


def found_in(result: Result, expected: Expected) -> Expected:
    """Say what came out in the words of expected.yaml, so that one comparison shows all that differs."""
    attempt = result.attempts[-1]
    stated = {step.name: step for step in expected.steps}
    messages = {(error.step, error.type) for error in expected.errors if error.message is None}
    return Expected(
        before=expected.before,
        meanwhile=expected.meanwhile,
        outcome=result.outcome,
        cause=attempt.cause,
        steps=[
            ExpectedStep(
                name=step.name,
                outcome=step.outcome,
                cause=step.cause,
                reason=step.reason,
                tries=step.tries if step.name in stated and stated[step.name].tries is not None else None,
                outputs=step.outputs if step.name in stated and stated[step.name].outputs is not None else None,
            )
            for step in attempt.steps
        ],
        merge=result.merge.status,
        set=result.changes.set,
        deleted=list(result.changes.deleted),
        conflicts=[
            ExpectedConflict(
                key=conflict.key,
                ours=conflict.ours,
                theirs=conflict.theirs,
                our_writer=conflict.our_writer,
                their_writer=conflict.their_writer,
                read=conflict.read,
            )
            for conflict in result.merge.conflicts
        ],
        artifacts=[artifact.name for artifact in result.artifacts],
        errors=[
            ExpectedError(
                step=error.step,
                type=error.type,
                message=None if (error.step, error.type) in messages else error.message,
            )
            for error in result.errors
        ],
        log_truncated=attempt.log_truncated,
        writers=None if expected.writers is None else result.changes.writers,
    )


def said(outcome: Expected) -> Json:
    """Return plain data, of which pytest shows each difference; measured numbers have checks of their own."""
    return outcome.model_dump(
        mode="json", exclude={"usage", "log", "log_bytes", "overlapping", "secrets"}, exclude_defaults=True
    )


def check_log(controller: Controller, result: Result, expected: Expected) -> None:
    lines = [line.text for line in controller.stores.logs.read(result.run_id)]
    assert expected.log is None or lines == expected.log


def check_usage(result: Result, expected: Expected) -> None:
    for name, bounds in expected.usage.items():
        measured = getattr(result.usage, name)
        assert measured is not None, f"{name} was not measured; sources: {result.usage.source}"
        check_bounds(name, measured, bounds)
    check_bounds("log_bytes", result.attempts[-1].log_bytes, expected.log_bytes)


def check_bounds(name: str, measured: float, bounds: Bounds) -> None:
    assert bounds.at_least is None or measured >= bounds.at_least, f"{name} is {measured}"
    assert bounds.at_most is None or measured <= bounds.at_most, f"{name} is {measured}"


def check_overlap(result: Result, names: list[str]) -> None:
    """Check that these steps ran at the same time, by the times that they put out, and no other with them."""
    if not names:
        return
    spans = {step.name: span(step.outputs) for step in result.attempts[-1].steps}
    together = [spans.pop(name) for name in names]
    first_end = min(ended for _, ended in together)
    assert max(began for began, _ in together) < first_end
    assert all(began >= first_end for began, _ in spans.values())


def span(outputs: JsonValue) -> tuple[float, float]:
    assert isinstance(outputs, dict)
    began, ended = outputs["began"], outputs["ended"]
    assert isinstance(began, float)
    assert isinstance(ended, float)
    return began, ended


def check_context(controller: Controller, expected: Expected, before: int) -> None:
    """A run that did not succeed changed nothing; one that did changed just what it says."""
    contexts = controller.stores.contexts
    others = before + len(expected.meanwhile)
    if expected.merge != "merged":
        assert contexts.version() == others
        return
    assert contexts.version() > others
    assert {entry.key: entry.value for entry in contexts.list()} == expected.before | expected.set
    assert [key for key in expected.deleted if contexts.get(key) is not None] == []


def check_nothing_is_left(controller: Controller, run_id: str, uids: set[int]) -> None:
    """A run leaves records. No container, process, control group, uid or mounted folder outlives it."""
    assert uids, "the run had no uid of its own"
    living = [
        process.info
        for process in psutil.process_iter(["pid", "name", "uids"])
        if process.info["uids"] is not None and uids & set(process.info["uids"])
    ]
    assert living == []
    assert [left for left in controller.engine.leftovers() if left.run_id == run_id] == []
    assert [cell for cell in leftover_groups() if run_of(cell) == run_id] == []
    assert held_uids(run_id) == []
    assert not uids & {*staged(Leases(leases_folder()).stages)}

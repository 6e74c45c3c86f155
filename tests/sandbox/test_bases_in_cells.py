"""Whole runs on a context that is too large for a snapshot of its own: a base is mounted, and looked up in."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.changes import Changes
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.model.snapshot import Snapshot
from isolation.sandbox.pool.shape import shape_of
from isolation.settings import Settings, load_settings
from isolation.wiring import open_controller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.controller import Controller
    from isolation.model.run import Result
    from tests.sandbox.conftest import Recipe

pytestmark = pytest.mark.engine

root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")

WITHIN_S = 30.0
LARGE = "x" * 10_000
MANY: dict[str, JsonValue] = {f"k.{number:03}": LARGE for number in range(40)}
SHORT = Limits(wall=60)
LOOK = """
def run(context, params):
    seen = context.to_dict()
    assert list(seen) == context.keys() == sorted(seen)
    assert "k.005" in context and context.get("k.005") == seen["k.005"] and "k.404" not in context
    return {"keys": len(seen), "short": {key: value for key, value in seen.items() if value != "x" * 10_000},
            "base": sorted(__import__("os").listdir("/base"))}
"""
READ_ONE = "def run(context, params):\n    context.set('length', len(context.get('k.005')))\n"
TWO_STEPS = """
def run(context, params):
    if "made" not in context:
        context.delete("k.000")
        context.set("k.001", 1)
        context.set("made", True)
        return {}
    return {"keys": len(context.keys()), "gone": context.get("k.000"), "new": context.get("k.001"),
            "last": list(context.to_dict())[-1], "same": len(context.get("k.002"))}
"""
WRITE_THERE = """
import os

def run(context, params):
    refused = []
    for mode in ("r+b", "wb"):
        try:
            open("/base/values", mode)
        except OSError as error:
            refused.append(error.strerror)
    try:
        os.remove("/base/values")
    except OSError as error:
        refused.append(error.strerror)
    return {"refused": refused}
"""


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with open_controller(Settings(state=tmp_path / "state", image=load_settings().image)) as controller:
        yield controller


def policy(**sections: object) -> Policy:
    return Policy.model_validate({"name": "test", "limits": {"wall": 60}, **sections})


def fill(controller: Controller, values: dict[str, JsonValue] = MANY, deleted: tuple[str, ...] = ()) -> None:
    controller.stores.contexts.change(Changes(set=values, deleted=deleted), "ann", "t")


def outputs_of(result: Result, step: int = 0) -> dict[str, Any]:
    assert result.succeeded, result.errors
    attestation = result.attempts[-1].attestation
    assert attestation is not None
    assert not attestation.having("mismatch")
    outputs = result.attempts[-1].steps[step].outputs
    assert isinstance(outputs, dict)
    return outputs


def snapshot_of(controller: Controller, result: Result) -> Snapshot:
    content = controller.stores.blobs.get(result.digests.snapshot)
    return Snapshot.read(content, controller.stores.contexts.base_named)


@pytest.mark.parametrize("runtime", ["runc", "runsc"])
def test_a_run_sees_all_of_a_large_context(
    controller: Controller, recipe: Recipe, runtime: str, request: pytest.FixtureRequest
) -> None:
    """What is in the base, what was written since, what was given for this run only; and nothing that was deleted."""
    limits: dict[str, object] = {"wall": 60}
    if runtime == "runsc":
        request.getfixturevalue("runsc")
        limits["tmp_inodes"] = None
    fill(controller)
    look, rule = recipe(LOOK), policy(runtime=runtime, limits=limits)
    first = controller.run(look, policy=rule)
    fill(controller, {"a": 1, "k.000": 2}, deleted=("k.001",))
    second = controller.run(look, policy=rule, context={"given": 3})

    assert outputs_of(first) == {"keys": 40, "short": {}, "base": ["values"]}
    assert outputs_of(second) == {"keys": 41, "short": {"a": 1, "given": 3, "k.000": 2}, "base": ["values"]}
    ours, theirs = snapshot_of(controller, first).base, snapshot_of(controller, second).base
    assert ours is not None
    assert theirs is not None
    assert ours.name == theirs.name


def test_steps_see_what_those_before_changed_of_a_base(controller: Controller, recipe: Recipe) -> None:
    """Deleted keys are gone, set ones new, and what is new comes last: as in a dictionary."""
    fill(controller)
    result = controller.run(recipe(TWO_STEPS, steps=2), policy=policy())

    found = outputs_of(result, 1)
    assert found == {"keys": 40, "gone": None, "new": 1, "last": "made", "same": 10_000}
    assert result.changes.deleted == ("k.000",)
    assert controller.stores.contexts.get("k.000") is None


def test_nobody_in_a_cell_can_change_a_base(controller: Controller, recipe: Recipe) -> None:
    """It is everybody's."""
    fill(controller)
    found = outputs_of(controller.run(recipe(WRITE_THERE), policy=policy()))
    assert found == {"refused": ["Read-only file system"] * 3}


def test_runs_at_once_share_a_base(controller: Controller, recipe: Recipe) -> None:
    """Which is made by the first of them, or by both, and is the same."""
    fill(controller)
    look = recipe(LOOK)
    with ThreadPoolExecutor(2) as threads:
        results = [*threads.map(lambda _: controller.run(look, policy=policy()), range(2))]
    assert [outputs_of(result)["keys"] for result in results] == [40, 40]
    assert len({result.digests.snapshot for result in results}) == 1


def test_a_replay_sees_what_the_run_saw_though_its_base_is_gone(controller: Controller, recipe: Recipe) -> None:
    """It is made again from the history, whatever the context holds by now."""
    fill(controller)
    look = recipe(LOOK)
    controller.run(look, policy=policy())
    fill(controller, {"k.000": "between"}, deleted=("k.001",))
    run = controller.run(look, policy=policy())
    fill(controller, {"k.000": "later", "k.002": "later"}, deleted=("k.003",))
    shutil.rmtree(controller.stores.bases.folder)
    again = controller.replay(run.run_id)

    assert outputs_of(run) == outputs_of(again) == {"keys": 39, "short": {"k.000": "between"}, "base": ["values"]}
    assert again.digests.snapshot == run.digests.snapshot
    assert again.replay_of == run.run_id


@pytest.mark.slow
def test_a_context_larger_than_its_memory_fits_a_cell(controller: Controller, recipe: Recipe) -> None:
    """100 MB in 32 MB: a key is looked up where it lies, and the pages are the kernel's, to be had back at any time."""
    fill(controller, {f"k.{number:03}": ["y" * 1000] * 1000 for number in range(100)})
    limits = SHORT.model_dump(by_alias=True) | {"memory": "32MiB"}
    result = controller.run(recipe(READ_ONE), policy=Policy(name="test", limits=Limits.model_validate(limits)))

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    entry = controller.stores.contexts.get("length")
    assert entry is not None
    assert entry.value == 1000


@root
def test_a_cell_that_stood_ready_gets_its_base_when_it_is_claimed(tmp_path: Path, recipe: Recipe) -> None:
    """As its package."""
    with open_controller(Settings(state=tmp_path / "state", image=load_settings().image), idle=1) as warm:
        fill(warm)
        await_idle(warm)
        result = warm.run(recipe(LOOK), policy=policy())
        found = outputs_of(result)
    assert result.attempts[0].attestation is not None
    assert result.attempts[0].attestation.cell == "warm"
    assert found["keys"] == 40


@root
def test_a_cell_that_runs_share_is_left_when_the_base_is_another(controller: Controller, recipe: Recipe) -> None:
    """Or the runs after it would see what the context was."""
    fill(controller)
    look, shared = recipe(LOOK), policy(reuse="package")
    before = [outputs_of(controller.run(look, policy=shared))["keys"] for _ in range(2)]
    fill(controller, {**dict.fromkeys(MANY, LARGE + "z"), "more": 1})
    after = outputs_of(controller.run(look, policy=shared))

    assert before == [40, 40]
    assert len(after["short"]) == 41


def await_idle(controller: Controller) -> None:
    image_id = controller.engine.image_id(load_settings().image)
    shape = shape_of(policy(), image_id)
    assert shape is not None
    assert controller.cells.pool is not None
    controller.cells.expect(policy(), image_id)
    assert controller.cells.pool.wait(shape, 1, WITHIN_S)

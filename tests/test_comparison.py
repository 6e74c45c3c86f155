"""Two runs on the real engine, compared by all that is kept of them, and by what was declared to be let pass."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from isolation.api import open_controller
from isolation.comparison import compare
from isolation.model.outcome import Outcome
from isolation.model.recipe import Leeway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.run import Result

pytestmark = pytest.mark.engine
DICE = """
import os, time
def run(context, params):
    context.set("dice", os.urandom(8).hex())
    print("took", time.perf_counter_ns())
    return {"about": 1 + int.from_bytes(os.urandom(6)) / 2**48 / 100}
"""
NOTHING = Leeway()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with open_controller(state=tmp_path / "state") as controller:
        yield controller


def twice(controller: Controller, folder: Path, *, recipe: str = "{}", policy: str = "{}") -> tuple[Result, Result]:
    """Run a recipe that throws dice twice, with what its recipe and its policy declare."""
    folder.mkdir(exist_ok=True)
    (folder / "work.py").write_text(DICE)
    steps = "steps: [{name: work, module: work, function: run}]"
    (folder / "recipe.yaml").write_text(f"metadata: {{name: dice}}\ndeterminism: {recipe}\n{steps}\n")
    (folder.parent / "policy.yaml").write_text(f"name: test\ndeterminism: {policy}\n")
    first, second = (controller.run(folder, policy=str(folder.parent / "policy.yaml")) for _ in range(2))
    assert {first.outcome, second.outcome} == {Outcome.SUCCEEDED}
    return first, second


VOLATILE, NEAR = "{volatile: [dice]}", "{tolerance: 0.05}"


@pytest.mark.parametrize(("recipe", "policy"), [(VOLATILE, NEAR), (NEAR, VOLATILE)])
def test_what_recipe_and_policy_declare_does_not_count(
    controller: Controller, tmp_path: Path, recipe: str, policy: str
) -> None:
    """Whoever replays the run a year later need not know."""
    first, second = twice(controller, tmp_path / "recipe", recipe=recipe, policy=policy)

    found = compare(controller.stores, first, second, NOTHING)

    assert found.verdict == "equivalent"
    assert [one.what for one in found.differences if one.area == "log"] == ["step work stdout: line 1"]


def test_what_is_asked_is_let_pass_beside_what_was_declared(controller: Controller, tmp_path: Path) -> None:
    """Neither takes the other's place."""
    first, second = twice(controller, tmp_path / "recipe", recipe=VOLATILE)

    assert compare(controller.stores, first, second, NOTHING).verdict == "diverged"
    assert compare(controller.stores, first, second, Leeway(tolerance=0.05)).verdict == "equivalent"


def test_a_result_says_on_what_it_ran(controller: Controller, tmp_path: Path) -> None:
    """What explains a difference a year later is not there to be asked any more."""
    ran = twice(controller, tmp_path / "recipe")[0].engine
    assert ran is not None

    assert ran.kernel == platform.release()
    assert ran.architecture == platform.machine()
    assert ran.cpus == controller.engine.facts().cpus
    if ran.architecture == "x86_64":
        assert ran.processor
    assert controller.stores.ledger.get("last").engine == ran
    assert ran.runtime == "runc"

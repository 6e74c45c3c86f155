"""A runtime that is missing or broken, on an engine of the tests' own: refused, and never another in its place."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import EngineError, UnenforceableError
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.conftest import on_gvisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from tests.runtimes.conftest import OwnEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.root]
POLICIES = {"crun": Policy(name="p", runtime="crun"), "runsc": on_gvisor(Policy(name="p"))}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Write a recipe whose artifact would tell that it ran."""
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "work.py").write_text("def run(context, params):\n    context.set('ran', True)\n")
    (tmp_path / "recipe" / "recipe.yaml").write_text(
        "metadata: {name: tiny}\nsteps: [{name: one, module: work, function: run}]\n"
    )
    return tmp_path / "recipe"


@pytest.fixture
def controller(own_engine: OwnEngine, tmp_path: Path) -> Iterator[Controller]:
    with open_controller(Settings(state=tmp_path / "state", engine=own_engine.address)) as controller:
        yield controller


def nothing_ran(controller: Controller) -> bool:
    return controller.stores.contexts.history("ran") == () and controller.engine.leftovers() == ()


@pytest.mark.parametrize("runtime", POLICIES)
def test_one_that_is_not_registered(own_engine: OwnEngine, controller: Controller, recipe: Path, runtime: str) -> None:
    """It is refused before a run is recorded, and the hint names those that are known."""
    own_engine.register({"other": {"path": "/opt/other"}})

    with pytest.raises(UnenforceableError) as refused:
        controller.run(recipe, policy=POLICIES[runtime])

    assert refused.value.exit_code == 3
    assert refused.value.sentence == f"the runtime {runtime!r} of policy 'p' is not known to the engine"
    assert refused.value.hint == (
        "It knows: other, runc. Register it (on Debian: scripts/runtimes), or choose another in the policy."
    )
    assert controller.stores.ledger.list(1) == ()
    assert nothing_ran(controller)


BROKEN = {"/nowhere/runtime": "/nowhere/runtime: no such file", shutil.which("false"): "exit status 1"}


@pytest.mark.parametrize("runtime", POLICIES)
@pytest.mark.parametrize("program", BROKEN)
def test_one_whose_program_is_missing_or_fails(
    own_engine: OwnEngine, controller: Controller, recipe: Path, runtime: str, program: str
) -> None:
    """The engine's own words tell why; nothing was delivered, and nothing is left."""
    own_engine.register({runtime: {"path": program}})

    with pytest.raises(EngineError, match=f"could not start a container: .*{BROKEN[program]}") as failed:
        controller.run(recipe, policy=POLICIES[runtime])

    assert failed.value.exit_code == 3
    assert nothing_ran(controller)


@pytest.mark.parametrize("runtime", POLICIES)
def test_one_that_is_another_in_truth(
    own_engine: OwnEngine, controller: Controller, recipe: Path, runtime: str
) -> None:
    """Whoever registers runc under another's name gets none of the other; the cell's attestation sees it."""
    own_engine.register({runtime: {"path": "runc"}})

    result = controller.run(recipe, policy=POLICIES[runtime])

    assert (result.outcome, result.cause) == (Outcome.REFUSED, "attestation")
    assert nothing_ran(controller)


@pytest.mark.usefixtures("runsc")
def test_gvisor_without_our_filter(own_engine: OwnEngine, controller: Controller, recipe: Path) -> None:
    """It drops the filter of system calls unless it was registered to keep it."""
    own_engine.register(gvisor("--platform=ptrace", "--network=none"))

    result = controller.run(recipe, policy=POLICIES["runsc"])

    assert (result.outcome, result.cause) == (Outcome.REFUSED, "attestation")
    assert "seccomp (cell) should be filter, and is none" in result.errors[0].message
    assert nothing_ran(controller)


@pytest.mark.usefixtures("runsc")
def test_one_that_is_in_order(own_engine: OwnEngine, controller: Controller, recipe: Path) -> None:
    """Else all of these could be refused for a reason of the tests' own engine."""
    own_engine.register(gvisor("--platform=ptrace", "--network=none", "--oci-seccomp"))

    result = controller.run(recipe, policy=POLICIES["runsc"])

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert not nothing_ran(controller)


def gvisor(*arguments: str) -> dict[str, Any]:
    return {"runsc": {"path": shutil.which("runsc"), "runtimeArgs": [*arguments]}}

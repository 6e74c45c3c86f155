"""Idle cells on the real engine, claimed: as confined as those made for their run, and as clean."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import EngineError
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.sandbox.cell import Cell
from isolation.sandbox.groups.v1 import GroupV1
from isolation.sandbox.groups.v2 import GroupV2
from isolation.sandbox.inside import change_mounts
from isolation.sandbox.pool.shape import shape_of
from isolation.settings import Settings, load_settings
from isolation.wiring import open_controller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.run import Result
    from tests.sandbox.conftest import Recipe

    RunWarm = Callable[..., Result]

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")]

WITHIN_S = 30.0
HARMLESS = "def run(context, params):\n    context.set('done', True)\n"
LOOK = """
import os, resource

def read(path):
    with open(path) as file:
        return file.read()

def run(context, params):
    uid = str(os.getuid())
    mounts = []
    for _, target, kind, options, *_ in (line.split() for line in read("/proc/self/mounts").splitlines()):
        options = sorted(one.replace(uid, "UID") for one in options.split(",") if "dir=" not in one)
        if target in ("/in", "/package"):  # the engine drops what these have
            options = [one for one in options if one not in ("nosuid", "nodev", "noexec")]
        mounts.append(" ".join([target, kind, *options]))
    status = [line.replace(uid, "UID") for line in read("/proc/self/status").splitlines()
              if line.startswith(("Cap", "NoNewPrivs", "Seccomp", "Groups"))]
    return {
        "mounts": sorted(mounts),
        "limits": {name: list(resource.getrlimit(getattr(resource, name))) for name in dir(resource)
                   if name.startswith("RLIMIT_")},
        "status": status,
        "environment": {name: value for name, value in os.environ.items()},
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
        "files": sorted(os.listdir("/tmp") + os.listdir("/scratch") + os.listdir("/package") + os.listdir("/in")),
        "interfaces": [line.split(":")[0] for line in read("/proc/net/dev").splitlines() if ":" in line],
        "folder": os.getcwd(),
        "session": os.getsid(0) == os.getpid() == os.getpgrp(),
        "argv": __import__("sys").argv,
        "path": __import__("sys").path,
        "modules": sorted(name for name in __import__("sys").modules),
    }
"""


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Controller]:
    with open_controller(Settings(state=tmp_path / "state"), idle=2) as controller:
        yield controller


@pytest.fixture
def run_warm(warm: Controller, recipe: Recipe) -> RunWarm:
    """Run in a cell that stands ready, which is waited for."""

    def run(source: str, policy: Policy | None = None, *, steps: int = 1, **limits: object) -> Result:
        policy = policy or Policy(name="test", limits=Limits.model_validate({"wall": 20, **limits}))
        await_idle(warm, policy)
        result = warm.run(recipe(source, steps=steps), policy=policy)
        attestation = result.attempts[0].attestation
        assert attestation is not None
        assert attestation.cell == "warm"
        assert not attestation.having("mismatch")
        return result

    return run


def outputs_of(result: Result) -> dict[str, Any]:
    assert result.succeeded, result.errors
    outputs = result.attempts[0].steps[0].outputs
    assert isinstance(outputs, dict)
    return outputs


def await_idle(controller: Controller, policy: Policy) -> None:
    image_id = controller.engine.image_id(load_settings().image)
    shape = shape_of(policy, image_id)
    assert shape is not None
    assert controller.cells.pool is not None
    controller.cells.expect(policy, image_id)
    assert controller.cells.pool.wait(shape, 1, WITHIN_S)


def idle_cells(controller: Controller, policy: Policy) -> list[Cell]:
    """Return those that stand ready for that policy's runs now."""
    shape = shape_of(policy, controller.engine.image_id(load_settings().image))
    assert shape is not None
    assert controller.cells.pool is not None
    return [*controller.cells.pool._kept[shape].ready]


def test_a_run_in_a_cell_that_stood_ready_is_merged(run_warm: RunWarm, warm: Controller) -> None:
    result = run_warm(HARMLESS)

    assert result.succeeded
    assert result.merge.status == "merged"
    entry = warm.stores.contexts.get("done")
    assert entry is not None
    assert entry.value is True
    assert {"claim", "attest"} <= {*result.attempts[0].phases_ms}
    assert not {"create", "start"} & {*result.attempts[0].phases_ms}


def test_a_recipe_cannot_tell_a_cell_that_stood_ready_from_one_that_was_made_for_it(
    run_warm: RunWarm, controller: Controller, recipe: Recipe
) -> None:
    """
    Mounts and their options, limits, capabilities, filter, environment, descriptors, files, modules: all the same.

    But for what is stricter: what we mount ourselves keeps the options that an engine's bind mount loses.
    """
    warm = outputs_of(run_warm(LOOK))
    cold = outputs_of(controller.run(recipe(LOOK), policy=Policy(name="test", limits=Limits(wall=20))))

    assert warm.keys() == cold.keys()
    for name, found in warm.items():
        assert found == cold[name], name


def test_every_fact_of_a_cell_made_for_its_run_is_attested_of_a_warm_one(
    run_warm: RunWarm, controller: Controller, recipe: Recipe
) -> None:
    """But for two that the claim changes: these are seen from the host then, and no longer told from inside."""
    facts = []
    for result in (run_warm(HARMLESS), controller.run(recipe(HARMLESS), policy=Policy(name="test"))):
        attestation = result.attempts[0].attestation
        assert attestation is not None
        assert not attestation.having("unverified")
        facts.append({(fact.view, fact.name) for fact in attestation.facts})

    assert facts[1] - facts[0] == {("cell", "mounts"), ("cell", "names of the host")}
    assert facts[0] - facts[1] == {("host", "names of the host")}


def test_an_attestation_says_what_was_seen_before_the_cell_was_claimed(run_warm: RunWarm) -> None:
    """What a claim changes or a process could, the host sees after it; what it was born with, and told, before."""
    attestation = run_warm(HARMLESS).attempts[0].attestation
    assert attestation is not None
    after = {fact.name for fact in attestation.facts if not fact.early}

    assert {fact.view for fact in attestation.facts if not fact.early} == {"host"}
    assert after == {
        "uid", "gid", "groups", "capabilities", "new privileges", "seccomp", "own namespaces", "cgroup", "mounts",
        "names of the host", "limit of memory", "limit of memory and swap", "limit of processes", "limit of processors",
    }  # fmt: skip


def test_a_mount_that_came_into_a_cell_while_it_stood_ready_is_seen(
    warm: Controller, recipe: Recipe, tmp_path: Path
) -> None:
    policy = Policy(name="test")
    await_idle(warm, policy)
    for idle in idle_cells(warm, policy):
        assert idle._first is not None
        change_mounts(idle._first.pid, {"/layer": tmp_path}, {})

    result = warm.run(recipe(HARMLESS), policy=policy)

    assert result.outcome is Outcome.REFUSED
    assert "/layer is mounted" in result.errors[0].message


@pytest.mark.parametrize(
    ("source", "limits", "outcome"),
    [
        ("def run(context, params):\n    held = bytearray(200 * 2**20)\n", {"memory": "64MiB"}, Outcome.OUT_OF_MEMORY),
        ("def run(context, params):\n    held = bytearray(40 * 2**20)\n", {"memory": "128MiB"}, Outcome.SUCCEEDED),
        (
            "import os, time\ndef run(context, params):\n    while True:\n        os.fork() or time.sleep(60)\n",
            {"pids": 16},
            Outcome.TOO_MANY_PROCESSES,
        ),
        (
            "def run(context, params):\n    open('/tmp/x', 'wb').write(bytes(3 * 2**20))\n",
            {"tmp": "2MiB"},
            Outcome.DISK_FULL,
        ),
        ("def run(context, params):\n    open('/tmp/x', 'wb').write(bytes(3 * 2**20))\n", {}, Outcome.SUCCEEDED),
        ("def run(context, params):\n    while True: pass\n", {"wall": 1}, Outcome.TIMED_OUT),
        ("def run(context, params):\n    [open(f'/tmp/{n}', 'w') for n in range(70)]\n", {}, Outcome.SUCCEEDED),
        (
            "def run(context, params):\n    [open(f'/tmp/{n}', 'w') for n in range(200)]\n",
            {"tmp_inodes": 128},
            Outcome.DISK_FULL,
        ),
    ],
    ids=["memory", "memory enough", "processes", "disk", "disk enough", "time", "inodes enough", "inodes"],
)
def test_the_limits_of_its_policy_hold_and_not_those_it_stood_with(
    run_warm: RunWarm, source: str, limits: dict[str, object], outcome: Outcome
) -> None:
    assert run_warm(source, **limits).outcome is outcome


def test_its_processor_time_is_the_policys(run_warm: RunWarm) -> None:
    source = """
import time
def run(context, params):
    began = time.monotonic()
    while time.monotonic() - began < 1:
        pass
    return {"share": time.process_time() / (time.monotonic() - began)}
"""
    share = outputs_of(run_warm(source, cpus=0.2))["share"]

    assert share < 0.4


def test_a_claimed_cell_whose_limits_were_not_changed_is_refused(
    warm: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours, or of the kernel's: nothing is delivered."""
    policy = Policy(name="test", limits=Limits.model_validate({"memory": "128MiB"}))
    await_idle(warm, policy)
    for kind in (GroupV1, GroupV2):
        monkeypatch.setattr(kind, "limit", lambda *_: None)

    result = warm.run(recipe(HARMLESS), policy=policy)

    assert result.outcome is Outcome.REFUSED
    assert "limit of memory" in result.errors[0].message


def test_a_claimed_cell_with_a_wider_tmpfs_is_refused(
    warm: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy(name="test")
    await_idle(warm, policy)
    monkeypatch.setattr("isolation.sandbox.cell.tmpfs_size", lambda _: "size=900m")

    result = warm.run(recipe(HARMLESS), policy=policy)

    assert result.outcome is Outcome.REFUSED
    assert "size=" in result.errors[0].message


def test_no_two_runs_share_a_cell(run_warm: RunWarm) -> None:
    source = """
import os
def run(context, params):
    left = os.listdir("/tmp") + os.listdir("/scratch")
    open("/tmp/left", "w").write("x")
    return {"uid": os.getuid(), "left": left}
"""
    seen = [outputs_of(run_warm(source)) for _ in range(3)]

    assert [outputs["left"] for outputs in seen] == [[], [], []]
    assert len({outputs["uid"] for outputs in seen}) == 3


def test_an_idle_cell_that_was_killed_is_passed_over(warm: Controller, recipe: Recipe) -> None:
    policy = Policy(name="test")
    await_idle(warm, policy)
    pool = warm.cells.pool
    assert pool is not None
    shape = shape_of(policy, warm.engine.image_id(load_settings().image))
    assert shape is not None
    idle = pool.take(shape)
    assert idle is not None
    assert idle._first is not None
    os.kill(idle._first.pid, signal.SIGKILL)
    assert idle._first.wait(WITHIN_S) is not None or not idle.stands
    pool._kept[shape].ready.append(idle)

    assert warm.run(recipe(HARMLESS), policy=policy).succeeded


def test_a_cell_that_cannot_be_fitted_is_replaced_by_one_made_for_the_run(
    warm: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy(name="test")
    await_idle(warm, policy)

    def fail(*_: object, **__: object) -> None:
        raise EngineError("no mounts today")

    monkeypatch.setattr(Cell, "fit", fail)
    result = warm.run(recipe(HARMLESS), policy=policy)

    assert result.succeeded
    assert result.attempts[0].attestation is not None
    assert result.attempts[0].attestation.cell == "new"


def test_a_policy_for_gvisor_gets_a_cell_of_its_own(tmp_path: Path, recipe: Recipe) -> None:
    policy = Policy(name="test", runtime="runsc", limits=Limits(tmp_inodes=None))
    with open_controller(Settings(state=tmp_path / "state"), idle=2) as controller:
        if "runsc" not in controller.engine.facts().runtimes:
            pytest.skip("the engine does not know runsc, and scripts/runtimes could not register it")
        attestation = controller.run(recipe(HARMLESS), policy=policy).attempts[0].attestation

    assert attestation is not None
    assert attestation.cell == "new"


def test_nothing_is_left_when_the_controller_closes(tmp_path: Path, recipe: Recipe) -> None:
    policy = Policy(name="test")
    with open_controller(Settings(state=tmp_path / "state"), idle=3) as controller:
        await_idle(controller, policy)
        assert controller.run(recipe(HARMLESS), policy=policy).succeeded
        engine, ours = controller.engine, {f"{os.getpid()}"}
        standing = [left for left in engine.leftovers() if left.owner.split("|")[1] in ours]
        assert standing
    assert not [left for left in engine.leftovers() if left.owner.split("|")[1] in ours]

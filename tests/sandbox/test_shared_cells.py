"""`reuse: package`: runs of one package, policy and namespace in one container, one after another."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from isolation.contract import Malformed
from isolation.errors import StorageError, UnenforceableError
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.sandbox.cell import Cell
from isolation.settings import Settings
from isolation.wiring import open_controller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.run import Result
    from tests.sandbox.conftest import Recipe

    Share = Callable[..., Result]

real = pytest.mark.engine
root = pytest.mark.skipif(os.geteuid() != 0, reason="looks into cells")


LEAVE_AND_LOOK = """
import os, socket, time

LEFT = []

def processes():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())

def run(context, params):
    found = {
        "uid": os.getuid(),
        "files": sorted(os.listdir("/tmp") + os.listdir("/scratch")),
        "processes": len(processes()),
        "left": len(LEFT),
        "variable": os.environ.get("LEFT"),
        "written": context.get("left"),
    }
    LEFT.append(1)
    os.environ["LEFT"] = "x"
    os.makedirs("/tmp/deep/" + "/".join("d" * 50 for _ in range(20)))
    open("/tmp/deep/file", "w").write("x")
    os.chmod("/tmp/deep/file", 0)
    os.symlink("/etc/passwd", "/scratch/link")
    socket.socket(socket.AF_UNIX).bind("/scratch/socket")
    os.chmod("/tmp/deep", 0)
    os.chmod("/tmp", 0o500)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    return found
"""
COUNT = "import os\ndef run(context, params):\n    return {'uid': os.getuid(), 'n': context.get('n')}\n"


def policy(name: str = "shared", **limits: object) -> Policy:
    return Policy(name=name, reuse="package", limits=Limits.model_validate({"wall": 20, **limits}))


def raising(error: Exception) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


def outputs_of(result: Result) -> dict[str, Any]:
    assert result.succeeded, result.errors
    outputs = result.attempts[0].steps[0].outputs
    assert isinstance(outputs, dict)
    return outputs


def uid_of(result: Result) -> int:
    return int(outputs_of(result)["uid"])


@real
@root
def test_a_further_run_finds_nothing_of_the_one_before(controller: Controller, recipe: Recipe) -> None:
    """Files of any mode, links, pipes, processes that hide, variables, modules."""
    folder = recipe(LEAVE_AND_LOOK)
    first, second, third = (outputs_of(controller.run(folder, policy=policy())) for _ in range(3))

    assert first == second == third
    assert first["files"] == []
    assert first["variable"] is None


@real
@root
@pytest.mark.parametrize("size", [1, 40_000], ids=["forked ahead", "forked for it"])
def test_a_further_run_finds_no_object_of_the_one_before(controller: Controller, recipe: Recipe, size: int) -> None:
    """Among all that Python holds in the process that the recipe's own code runs in."""
    source = """
import gc, os
def run(context, params):
    own, others, seen, pending = context.get("canary"), set(), set(), gc.get_objects()
    while pending:  # a dictionary of texts alone is on no list of Python's own, and found through who holds it
        one = pending.pop()
        if isinstance(one, str):
            others |= {one} if one.startswith("canary-") and one not in ("canary-", own) else set()
        elif id(one) not in seen:
            seen.add(id(one))
            pending += gc.get_referents(one)
    return {"uid": os.getuid(), "others": sorted(others)}
"""
    folder, filler = recipe(source), "x" * size
    seen = []
    for number in range(3):
        values = {"canary": f"canary-{number}-{os.urandom(4).hex()}", "filler": filler}
        seen.append(outputs_of(controller.run(folder, policy=policy(), context=values)))

    assert [outputs["others"] for outputs in seen] == [[], [], []]
    assert len({outputs["uid"] for outputs in seen}) == 1


@real
@root
def test_what_outlives_processes_in_the_kernel_ends_the_cell(controller: Controller, recipe: Recipe) -> None:
    """Shared memory of System V, svipc(7): who comes next gets another container."""
    source = """
import ctypes, os
def run(context, params):
    libc = ctypes.CDLL(None, use_errno=True)
    made = libc.shmget(0x1234, 4096, 0o1600)
    return {"uid": os.getuid(), "made": made >= 0, "lines": len(open("/proc/sysvipc/shm").readlines())}
"""
    folder = recipe(source)
    first, second = (outputs_of(controller.run(folder, policy=policy())) for _ in range(2))

    assert first["made"] == second["made"]
    assert first["lines"] == second["lines"]
    assert (first["uid"] != second["uid"]) == first["made"]


@real
@root
def test_files_that_cannot_be_removed_end_the_cell(controller: Controller, recipe: Recipe) -> None:
    """Deeper than a path can be long: nothing is lost by giving the container up."""
    source = """
import os
def run(context, params):
    uid, left = os.getuid(), os.listdir("/tmp")
    os.chdir("/tmp")
    for _ in range(100):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    return {"uid": uid, "left": left}
"""
    folder = recipe(source)
    first, second = (outputs_of(controller.run(folder, policy=policy())) for _ in range(2))

    assert first["uid"] != second["uid"]
    assert second["left"] == []


@real
@root
def test_it_is_attested_as_shared_from_the_first_run_on(controller: Controller, recipe: Recipe) -> None:
    folder = recipe(COUNT)
    for _ in range(2):
        attestation = controller.run(folder, policy=policy()).attempts[0].attestation
        assert attestation is not None
        assert attestation.cell == "shared"
        assert not attestation.having("mismatch")


@real
@root
def test_each_run_has_its_own_values_and_changes(controller: Controller, recipe: Recipe) -> None:
    folder = recipe("def run(context, params):\n    context.set('seen', context.get('n') * 2)\n")
    for number in range(3):
        assert controller.run(folder, policy=policy(), context={"n": number}).succeeded
        entry = controller.stores.contexts.get("seen")
        assert entry is not None
        assert entry.value == number * 2


@real
@root
def test_each_run_has_its_own_usage(controller: Controller, recipe: Recipe) -> None:
    """What one took is not counted for the next; what cannot be counted anew is not told."""
    source = """
def run(context, params):
    if context.get("n") == 0:
        held = bytearray(60 * 2**20)
        sum(range(10_000_000))
"""
    folder = recipe(source)
    heavy, light = (controller.run(folder, policy=policy(), context={"n": number}).usage for number in range(2))

    assert heavy.cpu_s is not None
    assert light.cpu_s is not None
    assert light.cpu_s < heavy.cpu_s / 2
    assert light.pids_peak is None
    assert heavy.memory_peak_bytes is not None
    assert heavy.memory_peak_bytes > 60 * 2**20
    assert light.memory_peak_bytes is None or light.memory_peak_bytes < heavy.memory_peak_bytes / 2


@real
@root
def test_a_step_that_fails_costs_nobody_the_cell(controller: Controller, recipe: Recipe) -> None:
    source = """
import os
def run(context, params):
    if context.get("n") == 1:
        raise ValueError("no")
    return {"uid": os.getuid()}
"""
    folder = recipe(source)
    first, failed, third = (controller.run(folder, policy=policy(), context={"n": number}) for number in range(3))

    assert failed.outcome is Outcome.FAILED
    assert uid_of(first) == uid_of(third)


@real
@root
@pytest.mark.parametrize(
    ("wrong", "outcome"),
    [
        ("held = bytearray(200 * 2**20)", Outcome.OUT_OF_MEMORY),
        ("while True: pass", Outcome.TIMED_OUT),
        ("[os.fork() or time.sleep(60) for _ in range(100)]", Outcome.TOO_MANY_PROCESSES),
    ],
)
def test_a_limit_that_was_met_ends_the_cell(
    controller: Controller, recipe: Recipe, wrong: str, outcome: Outcome
) -> None:
    source = f"""
import os, time
def run(context, params):
    if context.get("n") == 1:
        {wrong}
    return {{"uid": os.getuid()}}
"""
    folder = recipe(source)
    tight = policy(memory="64MiB", pids=16, wall=3)
    first, met, third = (controller.run(folder, policy=tight, context={"n": number}) for number in range(3))

    assert met.outcome is outcome
    assert uid_of(first) != uid_of(third)


@real
@root
def test_other_policies_packages_and_namespaces_get_other_cells(
    tmp_path: Path, controller: Controller, recipe: Recipe
) -> None:
    folder = recipe(COUNT)
    uids = [
        uid_of(controller.run(folder, policy=policy())),
        uid_of(controller.run(folder, policy=policy("another"))),
        uid_of(controller.run(recipe(COUNT + "# changed\n"), policy=policy())),
    ]
    with open_controller(Settings(state=tmp_path / "state", namespace="other")) as other:
        uids.append(uid_of(other.run(recipe(COUNT), policy=policy())))

    assert len({*uids}) == 4


@real
@root
def test_a_cell_that_is_not_clean_is_not_used_again(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recipe(COUNT)
    first = uid_of(controller.run(folder, policy=policy()))
    monkeypatch.setattr(Cell, "_is_clean", lambda _: False)

    assert uid_of(controller.run(folder, policy=policy())) != first


@real
@root
def test_a_run_of_which_something_lives_on_is_lost(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner said that it killed all; the kernel says otherwise, and nothing is merged."""
    monkeypatch.setattr(Cell, "is_alone", lambda _: False)

    result = controller.run(recipe("def run(context, params):\n    context.set('n', 1)\n"), policy=policy())

    assert result.outcome is Outcome.LOST
    assert controller.stores.contexts.get("n") is None


@real
@root
def test_a_cell_that_stayed_is_claimed_without_a_thread_where_nothing_can_interrupt_that(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread costs more than such a claim; but an interrupt comes to the main thread, and must not cut it in two."""
    prepared = controller.prepare(recipe(COUNT), policy=policy())
    with ThreadPoolExecutor(1) as another:
        first = another.submit(prepared.run).result()
        threads = controller.cells.beside
        begun: list[str] = []
        submit = threads.submit

        def told(act: Callable[..., Any], *given: Any) -> Future[Any]:  # noqa: ANN401 - whatever is begun
            begun.append(act.__name__)
            return submit(act, *given)

        monkeypatch.setattr(threads, "submit", told)
        assert uid_of(another.submit(prepared.run).result()) == uid_of(first)
        assert "_stand_up" not in begun
    assert uid_of(prepared.run()) == uid_of(first)
    assert "_stand_up" in begun


@real
@root
def test_a_run_that_cannot_be_prepared_leaves_the_cell_that_stayed_alone(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not claimed yet."""
    prepared = controller.prepare(recipe(COUNT), policy=policy())
    with ThreadPoolExecutor(1) as another:
        first = another.submit(prepared.run).result()
        with monkeypatch.context() as full:
            full.setattr(type(controller.stores.ledger), "start", raising(StorageError("the state folder is full")))
            with pytest.raises(StorageError, match="is full"):
                another.submit(prepared.run).result()

        assert uid_of(another.submit(prepared.run).result()) == uid_of(first)


@real
@root
def test_none_stays_when_the_controller_closes(tmp_path: Path, recipe: Recipe) -> None:
    with open_controller(Settings(state=tmp_path / "state")) as controller:
        assert controller.run(recipe(COUNT), policy=policy()).succeeded
        engine, ours = controller.engine, str(os.getpid())
        assert [left for left in engine.leftovers() if left.owner.split("|")[1] == ours]
    assert not [left for left in engine.leftovers() if left.owner.split("|")[1] == ours]


@real
@root
def test_where_no_group_can_be_made_nothing_is_shared(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes could not be counted; nothing of the cell is left."""
    monkeypatch.setattr("isolation.sandbox.cells.make_group", lambda *_, **__: None)

    with pytest.raises(UnenforceableError, match="share a cell"):
        controller.run(recipe(COUNT), policy=policy())

    ours = str(os.getpid())
    assert not [left for left in controller.engine.leftovers() if left.owner.split("|")[1] == ours]


@real
@root
@pytest.mark.parametrize("problem", [OSError(2, "gone"), Malformed("rubbish")], ids=["gone", "rubbish"])
def test_a_cell_that_cannot_be_looked_at_is_replaced(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    folder = recipe(COUNT)
    first = uid_of(controller.run(folder, policy=policy()))

    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(Cell, "_is_clean", fail if isinstance(problem, OSError) else lambda _: True)
    if isinstance(problem, Malformed):
        monkeypatch.setattr("isolation.sandbox.streams.Channel.check_nothing_follows", fail)

    assert uid_of(controller.run(folder, policy=policy())) != first


def test_who_cannot_look_into_a_cell_is_refused(on_fake: Controller, recipe: Recipe) -> None:
    with pytest.raises(UnenforceableError, match="share a cell"):
        on_fake.run(recipe(COUNT), policy=policy())

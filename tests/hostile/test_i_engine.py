"""Rows 141 to 151 and 165: an engine that is restarted, stopped, at odds with itself, or lacks what a policy asks."""

from __future__ import annotations

import gc
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import NotFound

from isolation.errors import EngineError, ImageError, UnenforceableError
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy, RetryRule
from isolation.sandbox.groups.make import remove_leftover
from isolation.sandbox.leases import Leases, leases_folder
from isolation.sandbox.stage import Stage
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.hostile.engines import OwnEngine, own_engine
from tests.hostile.traces import Witness, check_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

    from isolation.controller import Controller
    from isolation.model.run import Result

pytestmark = [
    pytest.mark.engine,
    pytest.mark.root,
    # The client of docker leaves the socket open by which it could not connect.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

RETRY = {Outcome.LOST: RetryRule.model_validate({"attempts": 8, "wait": "1s", "backoff": 1})}
SLEEPS = """
import time

def run(context, params):
    print("under way", flush=True)
    time.sleep({seconds})
    context.set("done", 1)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    with own_engine() as engine:
        yield engine


@pytest.fixture
def controller(engine: OwnEngine, tmp_path: Path) -> Iterator[Controller]:
    with open_controller(Settings(state=tmp_path / "state", engine=engine.address)) as controller:
        yield controller
    gc.collect()  # so that those sockets are told of here, where that is ignored


@pytest.fixture
def client(engine: OwnEngine) -> Iterator[docker.APIClient]:
    client = engine.client()
    yield client
    client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("metadata: {name: hostile}\nsteps: [{name: s0, module: work, function: run}]\n")
    return folder


def policy(wall: float = 30, **more: Any) -> Policy:  # noqa: ANN401 - a policy's own
    return Policy(name="hostile", limits=Limits.model_validate({"wall": wall}), **more)


@dataclass(frozen=True)
class Desk:
    """A controller, a recipe's folder, and a client that looks on."""

    controller: Controller
    folder: Path
    client: docker.APIClient

    def run(self, seconds: float, rules: Policy, during: Callable[[Witness], object]) -> tuple[Result, Witness]:
        """Run a recipe that sleeps so long; ``during`` is called, beside, when it is under way for the first time."""
        (self.folder / "work.py").write_text(SLEEPS.format(seconds=seconds))
        beside: list[threading.Thread] = []

        def under_way() -> None:
            beside.append(threading.Thread(target=during, args=(witness,)))
            beside[0].start()

        witness = Witness(self.client, under_way)
        result = self.controller.run(self.folder, policy=rules, watcher=witness)
        for thread in beside:
            thread.join()
        return result, witness

    def merged(self) -> int:
        """Count the merges of what the recipe wrote."""
        return len(self.controller.stores.contexts.history("done"))


@pytest.fixture
def desk(controller: Controller, folder: Path, client: docker.APIClient) -> Desk:
    return Desk(controller, folder, client)


@pytest.mark.parametrize("live_restore", [False, True])
def test_row_141_a_restart_of_the_engine_is_no_fault_of_the_recipes(
    engine: OwnEngine, desk: Desk, *, live_restore: bool
) -> None:
    """
    The attempt is lost and tried again; whatever became of the first, there is one success and one merge.

    With live-restore the lost attempt's container runs on: it is taken back as soon as the engine answers.
    """
    engine.stop()
    engine.start(**{"live-restore": live_restore})

    def restart(_: Witness) -> None:
        engine.stop()
        engine.start(**{"live-restore": live_restore})

    result, witness = desk.run(2.5, policy(retry=RETRY), restart)

    outcomes = [attempt.outcome for attempt in result.attempts]
    assert outcomes[-1] is Outcome.SUCCEEDED
    assert outcomes[0] is Outcome.LOST
    assert {*outcomes[:-1]} == {Outcome.LOST}
    assert desk.merged() == 1
    check_gone(witness, desk.client)


def test_row_147_a_deadline_holds_though_the_engine_hangs(engine: OwnEngine, desk: Desk) -> None:
    """Stopped for four seconds with a deadline after one: when it wakes, the run ends, once, and nothing is left."""

    def hang(_: Witness) -> None:
        assert engine.process is not None
        engine.process.send_signal(signal.SIGSTOP)
        time.sleep(4)  # it hangs for a time, which is the point
        engine.process.send_signal(signal.SIGCONT)

    result, witness = desk.run(600, policy(wall=1), hang)

    assert (result.outcome, result.cause) == (Outcome.TIMED_OUT, "limits.wall")
    assert desk.merged() == 0
    check_gone(witness, desk.client)


@pytest.mark.slow
def test_row_148_a_container_that_cannot_be_killed_is_set_apart(desk: Desk) -> None:
    """Its processes are frozen by a group above theirs: the run is lost, its uid stays taken, and others go on."""
    frozen: list[Path] = []
    beside: list[Outcome] = []

    def freeze(witness: Witness) -> None:
        cell = next(iter(witness.cells))
        state = Path("/sys/fs/cgroup/freezer/isolation") / cell / "freezer.state"
        if not state.exists():
            pytest.skip("row 148: this host has no freezer of cgroup v1, by which a process can be made unkillable")
        state.write_text("FROZEN")
        frozen.append(state)
        other = desk.folder.with_name("other")
        other.mkdir()
        (other / "work.py").write_text("def run(context, params):\n    pass\n")
        (other / "recipe.yaml").write_text((desk.folder / "recipe.yaml").read_text())
        beside.append(desk.controller.run(other, policy=policy()).outcome)

    result, witness = desk.run(600, policy(wall=1), freeze)
    held = {lease.uid for lease in Leases(leases_folder()).held()}
    for state in frozen:
        state.write_text("THAWED")
    _take_back(witness, desk.client)

    assert result.outcome is Outcome.LOST
    assert witness.uids <= held, "nobody else may have its uid"
    assert beside == [Outcome.SUCCEEDED]
    check_gone(witness, desk.client)


def _take_back(witness: Witness, client: docker.APIClient) -> None:
    """Do by hand what only a person can tell is safe."""
    for cell in witness.cells:
        with suppress(NotFound):
            client.remove_container(cell, force=True)
        remove_leftover(cell)
    leases = Leases(leases_folder())
    for uid in witness.uids:
        Stage(leases.stages / str(uid)).strike()
        leases.release(uid)


def test_row_149_two_that_remove_one_container_do_not_hold_each_other_up(engine: OwnEngine, desk: Desk) -> None:
    """Somebody removes it under a run: the run has no answer or is lost, ends at once, and leaves nothing."""
    hands = [engine.client() for _ in range(4)]

    def remove(witness: Witness) -> None:
        def by(hand: Any) -> None:  # noqa: ANN401 - the client of docker
            try:
                hand.remove_container(witness.bodies[0]["Id"], force=True)
            except Exception:  # noqa: BLE001 - all but one come too late
                return

        threads = [threading.Thread(target=by, args=(hand,)) for hand in hands]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for hand in hands:
            hand.close()

    result, witness = desk.run(600, policy(), remove)

    assert result.outcome in {Outcome.LOST, Outcome.NO_ANSWER}
    assert result.usage.wall_s is None or result.usage.wall_s < 25
    check_gone(witness, desk.client)


def test_row_151_an_image_that_is_gone_is_no_fault_of_the_recipes(
    engine: OwnEngine, controller: Controller, folder: Path, client: docker.APIClient, tmp_path: Path
) -> None:
    """Before a run, and before a recorded one is run again: refused with a sentence, and no other image taken."""
    container = client.create_container(Settings(state=tmp_path).image)["Id"]
    client.commit(container, repository="passing")
    client.remove_container(container)
    (folder / "work.py").write_text("def run(context, params):\n    pass\n")
    with open_controller(Settings(state=tmp_path / "state", engine=engine.address, image="passing")) as passing:
        first = passing.run(folder, policy=policy())
        client.remove_image("passing", force=True)
        with pytest.raises(ImageError, match="passing"):
            passing.run(folder, policy=policy())
    with pytest.raises(ImageError):
        controller.rerun(first.run_id)

    assert first.outcome is Outcome.SUCCEEDED
    assert [summary.state for summary in controller.stores.ledger.list(10)] == ["abandoned", "finished"]


def test_row_165_a_runtime_that_is_not_there_is_refused(controller: Controller, folder: Path) -> None:
    """Never another in its place; nothing is recorded as begun."""
    (folder / "work.py").write_text("def run(context, params):\n    pass\n")
    with pytest.raises(UnenforceableError, match="runsc"):
        controller.run(folder, policy=policy(runtime="runsc"))

    assert controller.stores.ledger.list(10) == ()


def test_row_165_a_runtime_that_is_broken_is_refused(
    engine: OwnEngine, controller: Controller, folder: Path, client: docker.APIClient
) -> None:
    """The engine knows its name, and cannot start it: an error of ours, and nothing left."""
    (folder / "work.py").write_text("def run(context, params):\n    pass\n")
    engine.stop()
    engine.start(runtimes={"crun": {"path": "/nowhere/crun"}})
    witness = Witness(client)

    with pytest.raises(EngineError):
        controller.run(folder, policy=policy(runtime="crun"), watcher=witness)

    check_gone(witness, client)

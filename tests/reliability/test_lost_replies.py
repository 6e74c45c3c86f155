"""Rows 140 and 150: the engine did what it was asked, or the record was kept, and whoever asked never heard of it."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy, RetryRule
from isolation.sandbox.engine import engine_address
from isolation.sandbox.first import FirstProcess
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.hostile.traces import Witness, check_gone
from tests.reliability.losing import LosingProxy, losing_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.controller import Controller
    from isolation.model.run import Result

pytestmark = [
    pytest.mark.engine,
    # The client of docker leaves the socket open on which the reply was lost.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

COMMAND = Path(sys.executable).with_name("isolation")
WRITES = "def run(context, params):\n    context.set('done', 1)\n"
ENDLESS = "import time\ndef run(context, params):\n    context.set('done', 1)\n    time.sleep(600)\n"
AGAIN = {Outcome.LOST: RetryRule(attempts=2)}
LOST = {
    "create": ("create", 0, 1),
    "attach": ("attach", 0, 2),
    "start": ("start", 0, 2),
    "inspect": ("inspect", 0, 1),
    "wait, before the container ended": ("wait", 0, 1),
    "wait, when it had ended": ("wait", 1, 1),
    "remove": ("remove", 0, 1),
}
"""The call, how many pieces of its answer come through, and how many attempts a run then takes to succeed."""
EARLY = ("create", "attach", "start", "inspect", "remove")


@dataclass(frozen=True)
class Desk:
    """A controller whose engine is behind the proxy, a recipe's folder, and a client that is not."""

    controller: Controller
    proxy: LosingProxy
    folder: Path
    client: docker.APIClient

    def run(self, source: str, policy: Policy) -> Result:
        """Run a recipe, and assert that nothing of it is left."""
        (self.folder / "work.py").write_text(source)
        witness = Witness(self.client)
        result = self.controller.run(self.folder, policy=policy, watcher=witness)
        check_gone(witness, self.client)
        return result

    def merged(self) -> list[str | None]:
        """Name the runs that wrote what the recipe writes."""
        return [entry.run_id for entry in self.controller.stores.contexts.history("done")]


@pytest.fixture
def desk(tmp_path: Path, engine: None) -> Iterator[Desk]:
    del engine  # it is there
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("metadata: {name: tiny}\nsteps: [{name: s0, module: work, function: run}]\n")
    client = docker.APIClient(base_url=engine_address(), version="auto")
    with (
        losing_proxy(tmp_path, engine_address()) as proxy,
        open_controller(Settings(state=tmp_path / "state", engine=proxy.address)) as controller,
    ):
        yield Desk(controller, proxy, folder, client)
    client.close()
    gc.collect()  # so that those sockets are told of here, where that is ignored


@pytest.fixture
def older_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not tell us how a container's first process exited, so that the engine is asked."""
    monkeypatch.setattr(FirstProcess, "wait", lambda *_: None)


@pytest.mark.usefixtures("older_kernel")
@pytest.mark.parametrize("what", LOST)
def test_row_150_a_lost_reply_of_the_engine_is_healed(desk: Desk, what: str) -> None:
    """What may be asked twice is asked again; else the attempt is lost, and the next succeeds. One merge, in all."""
    call, pieces, attempts = LOST[what]
    desk.proxy.lose(call, pieces=pieces)

    result = desk.run(WRITES, Policy(name="test", retry=AGAIN))

    assert desk.proxy.lost == 1
    assert [attempt.outcome for attempt in result.attempts] == [Outcome.LOST] * (attempts - 1) + [Outcome.SUCCEEDED]
    assert desk.merged() == [result.run_id]
    assert [summary.state for summary in desk.controller.stores.ledger.list(10)] == ["finished"]


@pytest.mark.parametrize("call", ["attach", "start"])
def test_row_150_without_another_attempt_the_run_is_lost_and_nothing_is_left(desk: Desk, call: str) -> None:
    """It never got its plan: nothing of the recipe ran, and nothing is merged."""
    desk.proxy.lose(call)

    result = desk.run(WRITES, Policy(name="test"))

    assert (desk.proxy.lost, result.outcome, desk.merged()) == (1, Outcome.LOST, [])


@pytest.mark.parametrize("call", EARLY)
def test_row_150_a_connection_that_breaks_before_the_engine_is_done_leaves_nothing(desk: Desk, call: str) -> None:
    """It goes on with what it was asked while we take back what it has not made yet."""
    desk.proxy.lose(call, early=True)

    result = desk.run(WRITES, Policy(name="test", retry=AGAIN))

    assert desk.proxy.lost == 1
    assert result.outcome is Outcome.SUCCEEDED
    assert desk.merged() == [result.run_id]


def test_row_150_a_lost_reply_to_a_kill_is_healed(desk: Desk) -> None:
    """A run past its deadline ends though nobody heard that it was killed."""
    desk.proxy.lose("kill")

    result = desk.run(ENDLESS, Policy(name="test", limits=Limits.model_validate({"wall": 1})))

    assert (desk.proxy.lost, result.outcome, desk.merged()) == (1, Outcome.TIMED_OUT, [])


def test_row_150_a_stream_that_is_cut_ends_the_run_and_merges_nothing(desk: Desk) -> None:
    """The recipe goes on and nobody hears it any more: it is killed, and what it had said is not believed."""
    desk.proxy.lose("attach", pieces=2)  # the answer's head, and the runner's greeting

    result = desk.run(WRITES, Policy(name="test"))

    assert desk.proxy.lost == 1
    assert result.outcome in {Outcome.NO_ANSWER, Outcome.LOST}
    assert desk.merged() == []


@pytest.mark.usefixtures("older_kernel")
@pytest.mark.parametrize("call", ["wait", "remove"])
def test_row_150_an_engine_whose_replies_never_come_loses_the_run(desk: Desk, call: str) -> None:
    """Without a word on the container's end nothing is merged; what may be left is taken back when replies come."""
    desk.proxy.lose(call, times=1000)
    (desk.folder / "work.py").write_text(WRITES)
    witness = Witness(desk.client)

    result = desk.controller.run(desk.folder, policy=Policy(name="test"), watcher=witness)
    desk.proxy.lose(call, times=0)
    again = desk.run(WRITES, Policy(name="test"))

    assert result.outcome is Outcome.LOST
    assert desk.merged() == [again.run_id]
    check_gone(witness, desk.client)


def test_row_140_a_reply_that_is_lost_after_the_commit_leaves_one_run_and_one_merge(
    desk: Desk, strace: str, tmp_path: Path
) -> None:
    """
    The command is killed at the first byte that it would have printed: its run is merged, and its caller knows nothing.

    The record tells; and whoever runs it again instead, with what it saw, merges nothing twice.
    """
    (desk.folder / "work.py").write_text(WRITES)
    reply, state = tmp_path / "reply", tmp_path / "state"
    fault = ["-P", str(reply), "-e", "trace=write", "-e", "inject=write:signal=KILL:when=1"]
    with reply.open("wb") as stdout:
        killed = subprocess.run(
            [strace, "-f", "-qq", "-o", "/dev/null", *fault, COMMAND, "--state", state, "run", "--json", desk.folder],
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            timeout=120,
        )
    assert (killed.returncode, reply.read_bytes()) == (-signal.SIGKILL, b""), killed.stderr

    ledger = desk.controller.stores.ledger
    (told,) = ledger.list(10)
    assert (told.state, told.outcome) == ("finished", Outcome.SUCCEEDED)
    assert (ledger.get("last").merge.status, desk.merged()) == ("merged", [told.run_id])
    assert desk.controller.rerun("last").succeeded
    assert desk.merged() == [told.run_id]

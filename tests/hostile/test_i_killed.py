"""Rows 136, 154 and 161: a controller that is killed, at every phase of a run, and one that is asked to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.leases import Leases, leases_folder
from isolation.settings import Settings
from isolation.wiring import clean_up
from tests.hostile.kit import on_runc
from tests.hostile.traces import Witness, check_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.kit import Arena

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("clean")]  # nobody else may clean up meanwhile

PROGRAM = """
import os, signal, sys
from pathlib import Path
import isolation
from isolation.model.policy import Policy

class Dies:
    def on_event(self, event):
        name = getattr(event, "phase", type(event).__name__)
        if name == "RunStarted":
            print(event.run_id, flush=True)
        if name == sys.argv[4]:
            os.kill(os.getpid(), signal.SIGKILL)

with isolation.open_controller(state=sys.argv[1]) as controller:
    controller.run(sys.argv[2], policy=Policy.read(Path(sys.argv[3]).read_bytes()), watcher=Dies())
os.kill(os.getpid(), signal.SIGKILL)
"""
MOMENTS = {
    "RunStarted": None,
    "freeze": None,
    "claim": "abandoned",
    "attest": "abandoned",
    "deliver": "abandoned",
    "run": "abandoned",
    "StepStarted": "abandoned",
    "StepEnded": "abandoned",
    "collect": "abandoned",
    "remove": "abandoned",
    "merge": "abandoned",
    "the end": "finished",
}
"""When it is killed, and what the record must say after the cleaning. None: that the run began was not recorded."""
WRITES = """
    def run(context, params):
        context.set(params["key"], 1)
    """


@dataclass(frozen=True)
class Died:
    """What a killed controller left: whose run it was, and how to look for what is left of it."""

    run_id: str
    witness: Witness


def die(arena: Arena, source: str, moment: str, key: str) -> Died:
    """Have a process run a recipe in the arena's state folder, and kill itself at a moment."""
    folder = arena.recipe(source, args={"key": key})
    policy = folder / "policy.json"
    policy.write_bytes(arena.policy().content())
    command = [sys.executable, "-c", PROGRAM, str(arena.state), str(folder), str(policy), moment]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    witness = Witness(arena.client)
    witness.run_id = done.stdout.strip()
    witness.uids = {lease.uid for lease in Leases(leases_folder()).held() if witness.run_id in lease.cell}
    return Died(witness.run_id, witness)


@on_runc
@pytest.mark.parametrize("moment", MOMENTS)
def test_row_136_a_killed_controller_leaves_one_end_and_nothing_else(arena: Arena, moment: str) -> None:
    """After the cleaning: one terminal state, a merge only with a recorded success, and nothing on the host."""
    key = f"killed.{moment.lower().replace(' ', '_')}.{arena.runtime}"
    died = die(arena, WRITES, moment, key)
    clean_up(Settings(state=arena.state), dry_run=False)

    stores = arena.controller.stores
    merged = [entry.run_id for entry in stores.contexts.history(key)]
    summaries = {summary.run_id: summary.state for summary in stores.ledger.list(1000)}
    assert summaries.get(died.run_id) == MOMENTS[moment]
    assert merged == ([died.run_id] if MOMENTS[moment] == "finished" else [])
    check_gone(died.witness, arena.client)
    arena.host.check_facts()


def test_row_161_a_uid_is_given_back_when_its_container_is_gone(arena: Arena) -> None:
    """While the dead controller's container still runs, nobody else can have its uid."""
    died = die(arena, "import time\ndef run(context, params):\n    time.sleep(600)", "StepStarted", "unused")
    leases = Leases(leases_folder())
    (uid,) = died.witness.uids
    running = arena.client.containers(filters={"label": f"isolation.run={died.run_id}"})
    taken = leases._write_down(uid, "another")

    clean_up(Settings(state=arena.state), dry_run=False)

    assert [container["State"] for container in running] == ["running"]
    assert not taken
    assert uid not in {lease.uid for lease in leases.held()}
    check_gone(died.witness, arena.client)


AT_ONCE = 5


@pytest.fixture
def started(arena: Arena) -> Iterator[list[subprocess.Popen[str]]]:
    """Start several controllers, each with a run whose step is under way."""
    folder = arena.recipe(
        "import time\ndef run(context, params):\n    print('under way', flush=True)\n    time.sleep(600)"
    )
    policy = folder / "policy.yaml"
    policy.write_text(json.dumps(json.loads(arena.policy().content())))
    program = Path(sys.executable).with_name("isolation")
    command = [str(program), "--state", str(arena.state), "run", str(folder), "--policy", str(policy)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(AT_ONCE)
    ]
    try:
        for process in processes:
            _await_its_step(process, arena.state)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _await_its_step(process: subprocess.Popen[str], state: Path) -> None:
    assert process.stderr is not None
    run_id = process.stderr.readline().split()[1]
    log = state / "runs" / run_id / "attempt-1.jsonl"
    while not (log.exists() and "under way" in log.read_text()):
        assert process.poll() is None, "it ended before its step began"
        time.sleep(0.02)


def test_row_154_runs_that_are_asked_to_stop_end_and_leave_nothing(
    arena: Arena, started: list[subprocess.Popen[str]]
) -> None:
    """By SIGTERM, as a host that shuts down does; all of them at once, and each says how it ended."""
    for process in started:
        process.send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[1] for process in started]

    assert [process.returncode for process in started] == [130] * AT_ONCE
    assert all("interrupted" in text for text in said)
    own = {str(process.pid) for process in started}
    ours = [lease for lease in Leases(leases_folder()).held() if lease.owner and str(lease.owner.pid) in own]
    assert ours == []
    outcomes = {summary.outcome for summary in arena.controller.stores.ledger.list(AT_ONCE)}
    assert {outcome.value for outcome in outcomes if outcome} == {"cancelled"}

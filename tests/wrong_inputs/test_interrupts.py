"""Whoever is interrupted is told what was left: nothing."""

from __future__ import annotations

import signal
import subprocess

import pytest

from isolation.sandbox.docker_engine import DockerEngine
from isolation.settings import Settings
from isolation.wiring import open_stores
from tests.wrong_inputs.conftest import STEPS, SUM, TIME_S, Desk

SLEEPER = (
    "import time\n"
    "def run(context, params):\n    context.set('sales.total', 1)\n"
    "def sum_up(context, params):\n    time.sleep(3600)\n"
)


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_run_is_cancelled_and_leaves_nothing(
    desk: Desk, address: str, number: signal.Signals, maybe_pool: dict[str, str]
) -> None:
    """Ctrl-C, a service manager and a closed terminal all mean: no container, no merge, and a record that says so."""
    desk.write({"recipe.yaml": STEPS + SUM + "    depends_on: [load]\n", "load.py": SLEEPER})
    command = desk.command(("run", "{folder}"), address, maybe_pool)
    with subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        begun = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(number)
        printed, told = process.communicate(timeout=TIME_S)

    run_id = begun[0].split()[1]
    assert begun[0] == f"run {run_id} of etl: 2 steps\n"
    assert begun[1].startswith("step load ... succeeded in ")
    assert (process.returncode, printed) == (130, "")
    assert told == (
        f"isolation: the run {run_id} was interrupted\n"
        f"Its container is gone, nothing was merged; `isolation show {run_id}` shows how far it came.\n"
    )
    assert [left for left in DockerEngine(address).leftovers() if left.run_id == run_id] == []
    with open_stores(Settings(state=desk.state)) as stores:
        result = stores.ledger.get(run_id)
        assert (result.outcome.value, result.merge.status, stores.contexts.version()) == ("cancelled", "none", 0)
        assert [step.outcome.value for step in result.attempts[-1].steps] == ["succeeded", "unknown"]

"""Runs in the command line's pool, on the real engine: in cells that stand ready, of which none is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from isolation.cli.boundary import INTERRUPTED
from isolation.owner import Owner
from isolation.sandbox.docker_engine import DockerEngine
from tests.cli.front import ENDS, NO_RUNS, RECIPE, TIME_S, Front, await_that

if TYPE_CHECKING:
    from isolation.sandbox.engine import Leftover

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.usefixtures("engine")]

WAITS = ENDS + "\ndef last(context, params):\n    import time\n    time.sleep(3600)\n"
LAST = "  - {name: last, module: work, function: last, depends_on: [work]}\n"


def test_a_run_whose_caller_is_killed_is_cancelled(front: Front) -> None:
    """Nobody would look at it any more: no container goes on unseen, and nothing is merged."""
    front.write(WAITS)
    (front.path / "recipe.yaml").write_text(RECIPE + LAST)
    process = front.start("run", ".")
    assert process.stderr is not None
    run_id = process.stderr.readline().split()[1]
    assert process.stderr.readline().startswith("step work ... succeeded ")
    _, attendant = front.command()
    process.kill()
    process.communicate(timeout=TIME_S)
    psutil.wait_procs([attendant], TIME_S)
    (run,) = json.loads(front.run("runs", "--json")[1])
    assert (run["run_id"], run["outcome"]) == (run_id, "cancelled")
    assert front.run("context", "list")[1] == "no keys\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")
def test_a_run_in_a_pool_is_given_a_cell_that_stands_ready(front: Front) -> None:
    """And when the pool has ended, no cell is left, whoever had it."""
    front.write(ENDS)
    lender = front.lender()
    await_that(lambda: _phases(front).isdisjoint({"create", "start"}))
    assert front.run("pool", "stop")[0] == 0
    assert psutil.wait_procs([lender], TIME_S)[1] == []
    assert _cells_of(lender.pid) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")
def test_a_command_that_is_killed_leaves_no_cell(front: Front) -> None:
    """Even where it cannot do a thing about it, which without a pool waits for `isolation clean`."""
    lender = front.lender()
    process, command = _waiting_in_a_lent_cell(front)
    command.kill()
    assert process.wait(TIME_S) == -signal.SIGKILL
    assert front.run("pool", "stop")[0] == 0
    assert psutil.wait_procs([lender], TIME_S)[1] == []
    assert _cells_of(lender.pid) == []


def test_the_first_run_starts_a_pool_for_the_second(place: Front) -> None:
    """A command that only looks does not."""
    place.write(ENDS)
    assert place.run("runs") == (0, NO_RUNS, "")
    assert place.pools() == []
    assert place.run("run", ".", "--no-pool", "--quiet")[0] == 0
    assert place.pools() == []
    assert place.run("run", ".", "--quiet")[0] == 0
    assert place.run("pool", "start")[0] == 0  # waits for it: there is one only
    assert len(place.pools()) == 1
    assert place.run("run", ".", "--quiet")[0] == 0


PRELOADED = """
import sys
import time
from isolation.cli.ahead.server import import_all
from isolation.cli.boundary import run
import_all()
before = set(sys.modules)
code = run(sys.argv[1:])
sys.stderr.write("\\n".join(sorted(set(sys.modules) - before)))
sys.exit(code)
"""


def test_a_run_in_a_pool_imports_nothing_more(place: Front) -> None:
    """What it imports, each run would import again."""
    place.write(ENDS)
    done = subprocess.run(
        [sys.executable, "-c", PRELOADED, "run", "--json", str(place.path)],
        env=place.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    imported = [name for name in done.stderr.split() if not name.startswith("encodings.")]
    assert (done.returncode, imported) == (0, [])


def _phases(front: Front) -> set[str]:
    code, out, told = front.run("run", ".", "--json")
    assert code == 0, told
    return {*json.loads(out)["attempts"][0]["phases_ms"]}


def _waiting_in_a_lent_cell(front: Front) -> tuple[subprocess.Popen[str], psutil.Process]:
    """Start runs that wait until one of them has borrowed its cell; the others end as by Ctrl-C."""
    front.write(WAITS)
    (front.path / "recipe.yaml").write_text(RECIPE + LAST)
    while True:
        process = front.start("run", ".")
        assert process.stderr is not None
        process.stderr.readline()
        assert process.stderr.readline().startswith("step work ... succeeded ")
        command, _ = front.command()
        if _cells_of(command.pid) == []:
            return process, command
        process.send_signal(signal.SIGINT)
        assert process.wait(TIME_S) == INTERRUPTED


def _cells_of(pid: int) -> list[Leftover]:
    """List the containers of the cells that a process has made, whoever uses them."""
    owners = ((left, Owner.read(left.owner)) for left in DockerEngine().leftovers())
    return [left for left, owner in owners if owner is not None and owner.pid == pid]

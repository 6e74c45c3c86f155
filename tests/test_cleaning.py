"""A controller that is killed leaves things behind; ``isolation clean`` finds them, and nothing of a living one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.cleaning import clean
from isolation.clock import SystemClock, timestamp
from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.groups.make import leftover_groups
from isolation.sandbox.leases import Leases, leases_folder
from isolation.sandbox.stage import Stage, staged
from isolation.stores import Stores
from isolation.testing.engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import sys, isolation
class Tell:
    def on_event(self, event):
        if type(event).__name__ == "StepStarted":
            print("started", flush=True)
with isolation.open_controller(state=sys.argv[1]) as controller:
    controller.run(sys.argv[2], policy=sys.argv[2] + "/policy.yaml", watcher=Tell())
"""
RECIPE = "metadata: {name: sleeper}\nsteps:\n  - {name: sleep, module: sleeper, function: sleep}\n"
POLICY = "name: sleeper\nnetwork: {allow: [site.example:443]}\n"
SCRIPTLET = "import time\n\n\ndef sleep(context, params):\n    time.sleep(50)\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "sleeper"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "sleeper.py").write_text(SCRIPTLET)
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    yield state
    isolation_command(state, "clean")


def start(state: Path, recipe: Path) -> subprocess.Popen[str]:
    """Start a controller of its own, and return when its recipe's step is under way."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, state, recipe], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    process.communicate()


def isolation_command(state: Path, *words: str) -> Any:  # noqa: ANN401 - JSON
    command = [str(Path(sys.executable).with_name("isolation")), "--state", str(state), *words, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def left_of(run_id: str) -> dict[str, list[str]]:
    """What this host still holds of a run."""
    return {
        "containers": [found.container_id for found in DockerEngine().leftovers() if found.run_id == run_id],
        "groups": [cell for cell in leftover_groups() if run_id in cell],
        "uids": [str(lease.uid) for lease in Leases(leases_folder()).held() if run_id in lease.cell],
    }


@pytest.mark.engine
@pytest.mark.xdist_group("clean")  # it looks at the whole host
def test_what_a_killed_controller_left_is_taken_away(state: Path, recipe: Path) -> None:
    """Container, group, uid and folders go; the run is recorded as abandoned; a second clean finds nothing."""
    end(start(state, recipe), signal.SIGKILL)
    (run,) = isolation_command(state, "runs")
    run_id = run["run_id"]
    assert all(left_of(run_id).values())
    uids = {int(uid) for uid in left_of(run_id)["uids"]}
    assert uids <= {*staged(Leases(leases_folder()).stages)}
    assert [*(Leases(leases_folder()).stages / str(min(uids))).rglob("proxy.sock")], "the network's socket lies there"

    looked = isolation_command(state, "clean", "--dry-run")
    assert run_id in looked["runs"]
    assert all(left_of(run_id).values()), "a dry run takes nothing away"
    isolation_command(state, "clean")

    assert not any(left_of(run_id).values())
    assert not uids & {*staged(Leases(leases_folder()).stages)}
    assert isolation_command(state, "runs")[0]["state"] == "abandoned"
    assert isolation_command(state, "clean")["runs"] == []


@pytest.mark.engine
@pytest.mark.xdist_group("clean")  # it looks at the whole host
def test_several_who_clean_at_once_do_not_meet(state: Path, recipe: Path) -> None:
    """As the workers of a host do, each every few seconds: one finds what is left, and the others nothing of it."""
    end(start(state, recipe), signal.SIGKILL)
    (run,) = isolation_command(state, "runs")

    with ThreadPoolExecutor(4) as pool:
        cleaned = [*pool.map(lambda _: isolation_command(state, "clean"), range(4))]

    assert sorted(run["run_id"] in one["runs"] for one in cleaned) == [False, False, False, True]
    assert not any(left_of(run["run_id"]).values())


def test_what_the_engine_is_still_making_for_the_dead_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is made it is not listed, so whoever lists first would leave it behind."""
    monkeypatch.setattr("isolation.cleaning.leftover_groups", tuple)  # those of this host have leases elsewhere
    engine, leases = FakeEngine(), Leases(tmp_path / "uids")
    (tmp_path / "uids").mkdir()
    (tmp_path / "uids" / "231072").write_text("isolation-dead-1\nanother boot|1|1\n")
    with Stores(tmp_path / "state") as stores:
        clean(stores, engine, leases, SystemClock(), dry_run=True)
        looked = [*engine.asked]
        clean(stores, engine, leases, SystemClock())

    assert looked == ["leftovers"], "a dry run makes nothing, and waits for nothing"
    assert engine.asked[len(looked) :] == ["settle", "leftovers"]
    assert leases.held() == ()


@pytest.mark.engine
@pytest.mark.root
@pytest.mark.xdist_group("clean")  # it looks at the whole host
def test_folders_whose_lease_is_gone_are_taken_away(state: Path, tmp_path: Path) -> None:
    """Whatever took the lease away: nobody who is about to lay out a cell is without one."""
    never_leased = 1
    folder = Leases(leases_folder()).stages / str(never_leased)
    Stage(folder).set_up(package=tmp_path, layer=None)

    cleaned = isolation_command(state, "clean")

    assert never_leased in cleaned["stages"]
    assert not folder.exists()


@pytest.mark.engine
@pytest.mark.xdist_group("clean")  # it looks at the whole host
def test_what_a_living_controller_uses_is_left_alone(state: Path, recipe: Path) -> None:
    """Somebody's clean in the middle of somebody else's run must not end it."""
    process = start(state, recipe)
    try:
        (run,) = isolation_command(state, "runs")
        before = left_of(run["run_id"])
        isolation_command(state, "clean")
        assert left_of(run["run_id"]) == before
        assert all(before.values())
        assert isolation_command(state, "runs")[0]["state"] == "running"
    finally:
        end(process, signal.SIGINT)
    assert not any(left_of(run["run_id"]).values())


@pytest.mark.engine
@pytest.mark.xdist_group("clean")  # it looks at the whole host
def test_what_was_brought_to_a_server_and_not_used_is_named_and_taken_away(tmp_path: Path) -> None:
    """A day after it came, and so is what somebody was writing when they were killed."""
    half = tmp_path / "blobs" / "tmp" / "half"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    with Stores(tmp_path) as stores:
        old, new = stores.brought.put(b"old"), stores.brought.put(b"new")
        stores.uploads.keep_blob(old, 3, "2025-01-01T00:00:00.000Z")
        stores.uploads.keep_blob(new, 3, timestamp(SystemClock().now()))

        assert isolation_command(tmp_path, "clean", "--dry-run")["uploads"] == [old]
        assert stores.brought.has(old)
        assert half.exists()
        assert isolation_command(tmp_path, "clean")["uploads"] == [old]
        assert not stores.brought.has(old)
        assert stores.brought.has(new)
        assert not half.exists()

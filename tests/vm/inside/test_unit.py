"""deploy/isolation.service as its head says to install it, on systemd, with an engine: up, restarted, and killed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.service.sending import submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = Path(__file__).parents[3]
PROGRAMS = Path("/opt/isolation")
UNIT = Path("/etc/systemd/system/isolation.service")
STATE = Path("/var/lib/isolation")
URL = "http://127.0.0.1:8080"
PATIENCE_S = 300.0
"""This machine is many times slower than any other."""
COUNT = """
import time

def run(context, params):
    time.sleep(5)
    context.set("count", context.get("count", 0) + 1)
"""
TOKEN = re.compile(r"the first token, an operator's, shown this once: (iso_\S+)")


def call(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT).stdout


def of_unit(name: str) -> str:
    return call("systemctl", "show", "--value", f"--property={name}", "isolation").strip()


def until(holds: Callable[[], object]) -> None:
    pause, end_s = Event(), time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, call("journalctl", "--no-pager", "--unit=isolation", "--lines=40")
        pause.wait(0.2)


def is_ready() -> bool:
    try:
        return httpx2.get(f"{URL}/readyz").status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Do what the unit's head says, with a wheel of this project; and undo it."""
    wheels = tmp_path_factory.mktemp("wheels")
    call(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", wheels)
    (wheel,) = wheels.iterdir()
    uv = Path(sys.executable).with_name("uv")
    call(uv, "venv", "--python", "/usr/bin/python3", PROGRAMS)
    call(uv, "pip", "install", "--python", PROGRAMS / "bin" / "python", f"{wheel}[service]")
    shutil.copy(PROJECT / "deploy" / "isolation.service", UNIT)
    call("systemctl", "daemon-reload")
    call("systemctl", "enable", "--now", "isolation")
    until(is_ready)
    yield
    call("systemctl", "disable", "--now", "isolation")
    UNIT.unlink()
    call("systemctl", "daemon-reload")
    shutil.rmtree(PROGRAMS)
    shutil.rmtree(STATE)


@pytest.fixture(scope="module")
def client(installed: None) -> Iterator[httpx2.Client]:  # noqa: ARG001 - what it asks
    """Ask with the token that the journal shows."""
    (token,) = TOKEN.findall(call("journalctl", "--no-pager", "--output=cat", "--unit=isolation"))
    with httpx2.Client(base_url=URL, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S) as client:
        yield client


def put(client: httpx2.Client, key: str) -> None:
    client.put("/v1/context/entry", params={"key": key}, json={"value": key}).raise_for_status()


def has(client: httpx2.Client, key: str) -> bool:
    return bool(client.get("/v1/context/entry", params={"key": key}).raise_for_status().json()["value"] == key)


def ended(client: httpx2.Client, run_id: str) -> str:
    """Wait for a run's end, and return its outcome."""
    until(lambda: client.get(f"/v1/runs/{run_id}").raise_for_status().json()["state"] == "finished")
    outcome: str = client.get(f"/v1/runs/{run_id}/result").raise_for_status().json()["outcome"]
    return outcome


def test_it_is_up_with_its_state_closed_to_others(client: httpx2.Client) -> None:
    """The same program as the checkout's, from the wheel alone, and enabled for the next boot."""
    assert client.get("/healthz").raise_for_status().json()["status"] == "ok"
    assert call("systemctl", "is-enabled", "isolation").strip() == "enabled"
    assert Path(f"/proc/{of_unit('MainPID')}/exe").resolve() == (PROGRAMS / "bin" / "python").resolve()
    assert (STATE.stat().st_mode & 0o777, STATE.stat().st_uid) == (0o700, 0)
    assert int(Path(f"/proc/{of_unit('MainPID')}/oom_score_adj").read_text()) == int(of_unit("OOMScoreAdjust")) < 0


def test_a_run_ends_well_under_what_the_unit_takes_away(client: httpx2.Client) -> None:
    """It still makes groups, mounts into cells and asks the engine; and a cell is confined as ever."""
    run_id = submitted(client, policy="strict")

    assert ended(client, run_id) == "succeeded"
    (attempt,) = client.get(f"/v1/runs/{run_id}/attempts").raise_for_status().json()["attempts"]
    told = client.get(f"/v1/runs/{run_id}/attempts/{attempt['number']}/attestation").raise_for_status().json()
    assert {fact["verdict"] for fact in told["attestation"]["facts"]} == {"held"}


def test_after_a_restart_all_is_there_and_no_second_token_is_shown(client: httpx2.Client) -> None:
    """A signal ends it well; what it knew is in its state folder."""
    put(client, "before.a.restart")
    before = of_unit("MainPID")

    call("systemctl", "restart", "isolation")
    until(is_ready)

    assert of_unit("MainPID") != before
    assert has(client, "before.a.restart")
    journal = call("journalctl", "--no-pager", "--output=cat", "--unit=isolation")
    assert len(TOKEN.findall(journal)) == 1
    assert "Failed with result" not in journal


def test_killed_it_comes_back_and_a_run_that_was_acknowledged_ends_once(client: httpx2.Client) -> None:
    """As if memory had run out: systemd starts it again, and it goes on with what it had taken."""
    put(client, "before.a.kill")
    run_id = submitted(client, files={"load.py": COUNT})
    until(lambda: client.get(f"/v1/runs/{run_id}").raise_for_status().json()["state"] == "running")
    restarts, before = int(of_unit("NRestarts")), of_unit("MainPID")

    call("systemctl", "kill", "--kill-who=main", "--signal=KILL", "isolation")
    until(lambda: int(of_unit("NRestarts")) == restarts + 1)
    until(is_ready)

    assert of_unit("MainPID") not in {before, "0"}
    assert has(client, "before.a.kill")
    assert ended(client, run_id) == "succeeded"
    assert client.get("/v1/context/entry", params={"key": "count"}).raise_for_status().json()["value"] == 1


def test_with_a_mount_namespace_of_its_own_each_run_would_be_refused(tmp_path: Path) -> None:
    """So the unit has none of the lines that bring one; a cell would find its folders empty, and say nothing."""
    program = Path(sys.executable).with_name("isolation")
    command: list[Path | str] = ["unshare", "--mount", program, "--state", tmp_path, "run", "recipes/quickstart"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)

    assert done.returncode == 3, done.stdout + done.stderr
    assert "this process has mounts of its own, which the engine does not see" in done.stderr

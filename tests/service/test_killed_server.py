"""A server that is killed in the middle of its work: what it has acknowledged ends, and ends once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from isolation.owner import Owner
from isolation.sandbox.docker_engine import DockerEngine
from isolation.stores import Stores
from tests.service.server import Server
from tests.site import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.usefixtures("engine"),
    pytest.mark.xdist_group("clean"),  # each server takes away what dead ones left on this host
]

RECIPE = "metadata: {name: count}\nsteps: [{name: work, module: work, function: run}]\n"
WORK = """
import time

def run(context, params):
    print("under way", flush=True)
    time.sleep(context.get("seconds"))
    key = f"done.{context.get('number')}"
    context.set(key, context.get(key, 0) + 1)
"""
ALL = range(50)
ENDED, UNDER_WAY, REST = ALL[:4], ALL[4:6], ALL[6:]
CLIENTS = 8


class Submitter:
    """Submits runs by number, each with a key of its own, and keeps what it was told of them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.told: dict[int, str] = {}
        self.unanswered: dict[int, Exception] = {}

    def submit(self, client: httpx2.Client, number: int) -> str:
        """Submit one, and return its run's id."""
        context = {"number": number, "seconds": 3 if number in UNDER_WAY else 0}
        answer = client.post(
            "/v1/runs",
            json={"recipe": RECIPE, "files": {"work.py": WORK}, "context": context},
            headers={"Idempotency-Key": f"order {number}"},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def go_on(self, numbers: list[int]) -> None:
        """Submit those that are left, one after another, until nobody answers any more."""
        with self.server.client() as client:
            while numbers:
                number = numbers.pop()
                try:
                    self.told[number] = self.submit(client, number)
                except httpx2.TransportError as error:
                    self.unanswered[number] = error
                    return


def containers_of(pid: int) -> set[str]:
    """Name the containers that a process has on the engine."""
    found = ((one.container_id, Owner.read(one.owner)) for one in DockerEngine().leftovers())
    return {container_id for container_id, owner in found if owner is not None and owner.pid == pid}


def kill_while_it_works(server: Server, submitter: Submitter) -> None:
    """Kill it while some runs have ended, some are under way, most wait, and more are being submitted."""
    with server.client() as client:
        for number in [*ENDED, *UNDER_WAY]:
            submitter.told[number] = submitter.submit(client, number)
        ids = [submitter.told[number] for number in UNDER_WAY]
        until(lambda: all(client.get(f"/v1/runs/{run_id}/logs").json()["lines"] for run_id in ids))
    told_before, left = len(submitter.told), [*REST]
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(submitter.go_on, left) for _ in range(CLIENTS)]
        until(lambda: len(submitter.told) >= told_before + len(REST) // 2)
        server.kill()
    for one in clients:
        one.result()
    submitter.unanswered |= dict.fromkeys(left, EOFError("not sent"))


def test_what_a_killed_server_acknowledged_ends_once(tmp_path: Path, url: str | None) -> None:
    """And what it did not: whoever got no answer submits again with the same key, whatever became of the first."""
    where = {"ISOLATION_DATABASE": url} if url else {}
    with Server(tmp_path / "state", "--slots", "2", environment=where) as server:
        submitter, dead = Submitter(server), server.process.pid
        kill_while_it_works(server, submitter)
        assert containers_of(dead) != set()
        with Stores(tmp_path / "state", url) as stores:
            state_of = {run.run_id: run.state for run in stores.ledger.list(2 * len(ALL))}
        states = Counter(state_of.values())
        assert states["finished"] >= len(ENDED)
        assert states["running"] > 0
        assert states["queued"] > len(REST) // 4
        assert any(not isinstance(error, httpx2.ConnectError | EOFError) for error in submitter.unanswered.values())

        server.start()
        with server.client() as client:
            run_ids = {number: submitter.submit(client, number) for number in ALL}
            ended = [await_end(client, run_ids[number]) for number in ALL]
            until(lambda: containers_of(dead) == set())

    assert {number: run_ids[number] for number in submitter.told} == submitter.told
    for result in ended:
        cost_an_attempt = state_of.get(result["run_id"]) == "running"
        outcomes = ["lost", "succeeded"] if cost_an_attempt else ["succeeded"]
        assert [attempt["outcome"] for attempt in result["attempts"]] == outcomes
    with Stores(tmp_path / "state", url) as stores:
        kept = {run.run_id: run.state for run in stores.ledger.list(2 * len(ALL))}
        written = [(one.key, one.value, one.run_id) for one in stores.contexts.history("*", 2 * len(ALL))]
    assert kept == dict.fromkeys(run_ids.values(), "finished")
    assert sorted(written) == sorted((f"done.{number}", 1, run_id) for number, run_id in run_ids.items())


def await_end(client: httpx2.Client, run_id: str) -> dict[str, Any]:
    """Wait for a run's end, and return all that is kept of it."""
    until(lambda: client.get(f"/v1/runs/{run_id}/result").status_code == 200)
    result: dict[str, Any] = client.get(f"/v1/runs/{run_id}/result").json()
    return result

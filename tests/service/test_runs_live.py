"""Runs that a real server submits, runs and tells of, from the recipe's text to its artifacts and events."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.storage.blobs import BlobStore
from tests.service.sending import RECIPE, put_package, submitted
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx2

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

WORK = """
from pathlib import Path

def run(context, params):
    print("hello from", context.get("region"))
    Path(context.artifact("data/all.bin")).write_bytes(bytes(range(256)) * 100)
    context.set("seen", context.get("region"))
"""
WAITS = """
import time

def run(context, params):
    print("under way", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Serve with two slots, and ask as its operator."""
    with Server(tmp_path_factory.mktemp("live"), "--slots", "2") as server, server.client() as client:
        yield client


def events(client: httpx2.Client, run_id: str, after: str = "") -> Iterator[dict[str, Any]]:
    """Listen to a run's log."""
    headers = {"Last-Event-ID": after} if after else {}
    with client.stream("GET", f"/v1/runs/{run_id}/logs/live", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        event: dict[str, Any] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                event[name] = value
            elif event.get("event"):
                yield {**event, "data": json.loads(event["data"])}
                event = {}


def ended(client: httpx2.Client, run_id: str) -> str:
    """Wait for its end, and return its outcome."""
    (last,) = [event for event in events(client, run_id) if event["event"] == "end"]
    return str(last["data"]["outcome"])


def test_how_far_it_has_come_is_seen_while_it_runs(client: httpx2.Client) -> None:
    """The step under way, and what it uses, before anything of the attempt is recorded; and nothing after."""
    run_id = submitted(client, files={"load.py": WAITS})
    live = events(client, run_id)
    assert next(live)["data"]["text"] == "under way"
    while True:  # the first reading of what it uses comes with the first step, or soon after
        answer = client.get(f"/v1/runs/{run_id}/progress").json()
        if answer["progress"]["samples"]:
            break
    progress = answer["progress"]
    assert (answer["state"], progress["attempt"], progress["phase"]) == ("running", 1, "run")
    (step,) = progress["steps"]
    assert (step["name"], step["outcome"], step["wall_s"]) == ("load", None, None)
    assert step["began_s"] >= progress["phase_began_s"] > 0
    (series,) = client.get(f"/v1/runs/{run_id}/usage").json()["attempts"]
    assert series["samples"][0]["memory_bytes"] > 0
    assert "isolation_pool_cells{state=" in client.get("/metrics").text
    client.post(f"/v1/runs/{run_id}/cancel")
    assert [*live][-1]["event"] == "end"
    assert client.get(f"/v1/runs/{run_id}/progress").json() == {
        "run_id": run_id,
        "state": "finished",
        "progress": None,
    }


def test_a_run_from_its_text_to_its_artifacts(client: httpx2.Client) -> None:
    """Submitted, run by the server's own worker, merged, and all that it left is there; again, and compared."""
    run_id = submitted(client, files={"load.py": WORK}, context={"region": "eu"})
    assert ended(client, run_id) == "succeeded"
    result = client.get(f"/v1/runs/{run_id}/result").json()
    assert result["changes"]["set"] == {"seen": "eu"}
    assert client.get("/v1/context/entry", params={"key": "seen"}).json()["run_id"] == run_id
    assert [line["text"] for line in client.get(f"/v1/runs/{run_id}/logs").json()["lines"]] == ["hello from eu"]
    part = client.get(f"/v1/runs/{run_id}/artifacts/data/all.bin", headers={"Range": "bytes=256-257"})
    assert (part.status_code, part.content) == (206, b"\x00\x01")
    assert client.get(f"/v1/runs/{run_id}/attempts/1/attestation").json()["attestation"]["cell"]
    assert client.get(f"/v1/runs/{run_id}/usage").json()["attempts"][0]["attempt"] == 1

    for again in ("rerun", "replay"):
        second = client.post(f"/v1/runs/{run_id}/{again}").json()["run_id"]
        assert ended(client, second) == "succeeded"
        assert client.get(f"/v1/runs/{run_id}/diff/{second}").json()["verdict"] in {"identical", "equivalent"}
        repeated = client.get(f"/v1/runs/{second}/result").json()
        assert repeated["digests"] == result["digests"]
        assert repeated["replay_of"] == (run_id if again == "replay" else "")


def test_a_log_is_seen_while_it_is_written(client: httpx2.Client) -> None:
    """The step would go on for ten minutes: its line comes before its end, which is that it is cancelled."""
    run_id = submitted(client, files={"load.py": WAITS}, adjustments={"step_timeout_s": 3000}, policy="generous")
    seen = []
    for event in events(client, run_id):
        seen.append(event)
        if event["event"] == "line":
            assert client.get(f"/v1/runs/{run_id}").json()["state"] == "running"
            assert client.post(f"/v1/runs/{run_id}/cancel").status_code == 202
    assert [event["event"] for event in seen] == ["line", "end"]
    assert seen[0]["data"]["text"] == "under way"
    assert seen[1]["data"] == {"run_id": run_id, "state": "finished", "outcome": "cancelled"}
    assert [event["event"] for event in events(client, run_id, after=seen[0]["id"])] == ["end"]


def test_a_package_that_was_brought_runs(client: httpx2.Client, tmp_path: Path) -> None:
    """Blob by blob; as a batch of two inputs."""
    (tmp_path / "load.py").write_text(WORK)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    packed = pack(load_recipe(tmp_path / "recipe.yaml"), blobs=BlobStore(tmp_path / "elsewhere"))
    for content in (WORK.encode(), RECIPE.encode()):
        assert client.put(f"/v1/blobs/{hashlib.sha256(content).hexdigest()}", content=content).status_code == 200
    assert put_package(client, packed.manifest()).status_code == 200
    inputs = [{"region": "eu"}, {"region": "us"}]
    asked = {"package": packed.digest, "inputs": inputs, "key": "two", "policy": "default"}
    runs = client.post("/v1/batches", json=asked).json()["runs"]
    outcomes = [ended(client, run_id) for run_id in runs]
    seen = client.get("/v1/batches/two").json()
    assert (seen["ended"], sum(seen["outcomes"].values())) == (True, len(outcomes))
    assert {*outcomes} <= {"succeeded", "conflict"}

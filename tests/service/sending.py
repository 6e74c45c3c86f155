"""What tests send to the service: recipes, packages, and runs that have ended without an engine."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isolation.clock import SystemClock
from isolation.model.run import Artifact, Digests
from isolation.rules.redaction import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from httpx2 import Client, Response

    from isolation.model.run import Result
    from isolation.service.service import Service

RECIPE = "metadata: {name: work}\nsteps: [{name: load, module: load, function: run}]\n"
LOAD = "def run(context, params):\n    print('hello')\n    context.set('seen', context.get('region'))\n"
SENT: dict[str, Any] = {"recipe": RECIPE, "files": {"load.py": LOAD}}
AT = "2025-01-01T00:00:00.000Z"


def send(client: Client, **how: Any) -> Response:  # noqa: ANN401 - whatever a body may hold
    """Submit the recipe, otherwise than usual."""
    return client.post("/v1/runs", json=SENT | how)


def submitted(client: Client, **how: Any) -> str:  # noqa: ANN401 - as above
    """Submit the recipe, and return the run's id."""
    answer = send(client, **how)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


def upload(client: Client, content: bytes) -> str:
    """Bring a blob, and return its digest."""
    digest = hashlib.sha256(content).hexdigest()
    answer = client.put(f"/v1/blobs/{digest}", content=content)
    assert answer.status_code == 200, answer.text
    return digest


def put_package(client: Client, manifest: bytes, digest: str = "") -> Response:
    """Bring a manifest, under its digest or another."""
    return client.put(f"/v1/packages/{digest or hashlib.sha256(manifest).hexdigest()}", content=manifest)


def end(service: Service, result_of: Callable[..., Result], run_id: str, **kept: Any) -> Result:  # noqa: ANN401 - parts of a result
    """Record a run that has ended, with artifacts by their contents and a log by its attempts' lines."""
    artifacts: Mapping[str, bytes] = kept.pop("artifacts", {})
    log: Mapping[int, list[str]] = kept.pop("log", {})
    stores = service.within(kept.pop("namespace", "default"))
    digests = Digests(package="a" * 64, snapshot="b" * 64, policy="c" * 64, image="sha256:" + "d" * 64)
    files = tuple(
        Artifact(name=name, digest=stores.blobs.put(content), size_bytes=len(content))
        for name, content in artifacts.items()
    )
    result = replace(result_of(run_id), artifacts=files, digests=digests, **kept)
    epoch = stores.ledger.start(run_id, result.recipe, "default", digests, AT)
    write_log(service, run_id, log)
    with stores.ledger.settling(run_id, epoch) as settling:
        settling.finish(result, AT)
    return result


def write_log(service: Service, run_id: str, log: Mapping[int, list[str]]) -> None:
    """Write lines to the logs of a run's attempts."""
    for attempt, lines in log.items():
        with service.stores.logs.open(
            run_id, attempt, SystemClock(), 2**20, lambda _: None, redaction=NOTHING
        ) as writer:
            for line in lines:
                writer.write("load", "stdout", line.encode() + b"\n")

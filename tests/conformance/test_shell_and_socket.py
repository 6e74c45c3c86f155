"""What programs of Framework0's people do by shell and by socket, at a server that lets in who has no token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.service.server import Server
from tests.site import until
from tests.test_documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

DEPLOYMENT = """
CONTEXT_CMD="./tools/context.sh"
ID=$(date +%Y%m%d_%H%M%S)
$CONTEXT_CMD set deployment.id "$ID" --who deploy_script
$CONTEXT_CMD set deployment.status "starting" --who deploy_script
$CONTEXT_CMD set deployment.timestamp "$(date -Iseconds)" --who deploy_script
if deploy_application; then
    $CONTEXT_CMD set deployment.status "success" --who deploy_script
    $CONTEXT_CMD dump --dump-format json --filename "deployment_$ID" --who deploy_script
else
    $CONTEXT_CMD set deployment.status "failed" --who deploy_script
    $CONTEXT_CMD set deployment.error "$?" --who deploy_script
fi
"""
LISTENING = """
import sys
import socketio

sio = socketio.Client()

@sio.event
def connect():
    sio.emit("subscribe", {"keys": ["deployment.*", "config.*"]})

@sio.event
def context_snapshot(data):
    print("ready", flush=True)

@sio.event
def context_changed(data):
    print(f"{data['key']} = {data['new_value']} by {data['who']}", bool(data["timestamp"]), flush=True)

@sio.event
def context_dump_complete(data):
    print(f"{data['filename']} {data['file_size'] > 0}", flush=True)

sio.connect(sys.argv[1])
sio.wait()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "state", "--slots", "0", "--anonymous", "runner") as server:
        yield server


def deploy(server: Server, application: str) -> None:
    """Run the script of a deployment, whose application is a command."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")}
    script = f"deploy_application() {{ {application}; }}\n{DEPLOYMENT}"
    subprocess.run(
        ["/bin/bash", "-c", script], cwd=ROOT, env=own | {"ISOLATION_URL": server.url}, check=True, capture_output=True
    )


def everything(server: Server) -> dict[str, object]:
    """Return the context, as anybody sees it."""
    found: dict[str, object] = httpx2.get(f"{server.url}/ctx/all").json()["context"]
    return found


def test_a_deployment_keeps_the_context_up_to_date(server: Server) -> None:
    """Whether it works out or not."""
    deploy(server, "true")
    assert everything(server)["deployment.status"] == "success"
    (dump,) = httpx2.get(f"{server.url}/ctx/dump/list").json()["dump_files"]
    content = json.loads(httpx2.get(f"{server.url}/ctx/dump/{dump['filename']}").text)
    assert content["context"]["deployment.status"] == "success"
    deploy(server, "false")
    assert everything(server)["deployment.status"] == "failed"
    assert everything(server)["deployment.error"] == 0  # of the line before: so it is in shells


def test_a_program_hears_of_what_it_subscribed_to(server: Server) -> None:
    """And of dumps, by the names of its own functions."""
    heard: list[str] = []
    with subprocess.Popen([sys.executable, "-c", LISTENING, server.url], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "ready\n"
            deploy(server, "true")
            while len(heard) < 5:
                heard.append(program.stdout.readline().strip())
        finally:
            program.terminate()
    identifier = everything(server)["deployment.id"]
    assert heard[0] == f"deployment.id = {identifier} by deploy_script True"
    assert heard[1] == "deployment.status = starting by deploy_script True"
    assert heard[3] == "deployment.status = success by deploy_script True"
    assert heard[4] == f"deployment_{identifier}.json True"


def test_a_dump_leads_nowhere_else(server: Server, tmp_path: Path) -> None:
    """Nor does anybody come in from beyond this machine without a token: see the places of a server."""
    for name in ("../escape", "/tmp/escape", "a/b", "..", ""):  # noqa: S108 - what is refused
        answer = httpx2.post(f"{server.url}/ctx/dump", json={"filename": name, "format": "json"})
        assert answer.status_code == 422, name
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    until(lambda: httpx2.get(f"{server.url}/ctx/dump/list").json()["dump_files"] == [])

"""deploy/compose.yaml is used as it is there, but for places and ports: containers of a server and of a database."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.service.server import ISOLATION, free_port
from tests.site import until
from tests.test_documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.requirements,
    pytest.mark.xdist_group("compose"),  # on two workers, both would make the images, a minute each
]

DEPLOY = ROOT / "deploy"
STATE = "/var/lib/isolation"
DATABASE_UID = 999
RECIPE = {
    "recipe": "metadata: {name: hello}\nsteps: [{name: hello, module: hello, function: run}]\n",
    "files": {"hello.py": "def run(context, params):\n    print('a line')\n    context.set('greeted', True)\n"},
    "policy": "strict",
}


def compose_tool() -> list[str]:
    """Find the newer one, a part of the engine's client, or the older, a program of its own."""
    newer = ["docker", "compose"]
    if subprocess.run([*newer, "version"], capture_output=True, check=False).returncode == 0:
        return newer
    older = shutil.which("docker-compose")
    if older is None:
        pytest.skip("Compose is not there; scripts/test installs it where it may")
    return [older]


class Deployed:
    """The containers of compose.yaml, with a state folder, a port and a network of their own."""

    def __init__(self, folder: Path, engine_network: str) -> None:
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        sockets = self.state / "postgresql"
        sockets.mkdir()
        os.chown(sockets, DATABASE_UID, DATABASE_UID)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.proxy = f"{engine_network}.1"
        text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
        for shown, real in (
            (STATE, str(self.state)),
            ("127.0.0.1:8080:8080", f"127.0.0.1:{port}:8080"),
            ("172.30.77", engine_network),
        ):
            assert shown in text
            text = text.replace(shown, real)
        file = folder / "compose.yaml"
        file.write_text(text, encoding="utf-8")
        self._command = [*compose_tool(), "--project-name", f"deployed{os.getpid()}", "--file", str(file)]

    def compose(self, *arguments: str) -> str:
        """Run compose; returns what it printed."""
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self) -> None:
        """Start it, and wait until the server is ready."""
        self.compose("up", "--detach")
        until(self.is_ready)

    def is_ready(self) -> bool:
        """Ask the server."""
        try:
            return httpx2.get(f"{self.url}/readyz").is_success
        except httpx2.TransportError:
            return False

    def token(self) -> str:
        """Read the first token, where a person does."""
        (token,) = re.findall(r"shown this once: (\S+)", self.compose("logs", "--no-color", "server"))
        return str(token)

    def inspect(self, service: str) -> dict[str, Any]:
        """Ask the engine what holds a service's container."""
        asked = ["docker", "inspect", self.compose("ps", "--quiet", service).strip()]
        done = subprocess.run(asked, capture_output=True, check=True)
        (found,) = json.loads(done.stdout)
        return dict(found)

    def work(self) -> None:
        """Run the queue as the worker's unit does, until it is empty."""
        unit = (DEPLOY / "isolation-worker.service").read_text(encoding="utf-8").replace(STATE, str(self.state))
        (line,) = re.findall(r"^ExecStart=\S+ (.+)$", unit, re.MULTILINE)
        named = dict(re.findall(r"^Environment=(\w+)=(.+)$", unit, re.MULTILINE))
        command = [ISOLATION, *line.split(), "--until-empty"]
        done = subprocess.run(command, env=os.environ | named, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Deployed]:  # noqa: ARG001 - it fails without an engine
    if os.geteuid() != 0:
        pytest.skip("the state folder that the containers share is root's")
    one = Deployed(tmp_path_factory.mktemp("compose"), f"10.213.{os.getpid() % 256}")
    subprocess.run([ROOT / "scripts/service-images"], check=True)
    try:
        one.up()
        yield one
    finally:
        one.compose("down", "--volumes")


def test_a_run_goes_from_the_container_to_a_worker_and_back(deployed: Deployed) -> None:
    """By HTTP into the database, to a worker on the host, and what it left is read in the container again."""
    headers = {"Authorization": f"Bearer {deployed.token()}", "X-Forwarded-For": "192.0.2.7"}
    with httpx2.Client(base_url=deployed.url, headers=headers) as client:
        run_id = client.post("/v1/runs", json=RECIPE).raise_for_status().json()["run_id"]
        deployed.work()
        assert client.get(f"/v1/runs/{run_id}").json()["outcome"] == "succeeded"
        assert [line["text"] for line in client.get(f"/v1/runs/{run_id}/logs").json()["lines"]] == ["a line"]
        assert client.get("/v1/context/entry", params={"key": "greeted"}).json()["value"] is True
        # As nginx.conf says it: the host, seen through the network's gateway, is the proxy.
        assert client.get("/v1/audit", params={"limit": 1}).json()["decisions"][0]["address"] == "192.0.2.7"

        deployed.compose("down")
        deployed.up()
        assert client.get(f"/v1/runs/{run_id}").json()["outcome"] == "succeeded"


def test_what_listens_can_do_nothing_else(deployed: Deployed) -> None:
    """Neither container has a capability, a way to get one, a file system to write, or the engine."""
    for service in ("server", "database"):
        found = deployed.inspect(service)
        held = found["HostConfig"]
        assert (held["CapDrop"], held["CapAdd"], held["Privileged"]) == (["ALL"], None, False)
        assert held["SecurityOpt"] == ["no-new-privileges:true"]
        assert held["ReadonlyRootfs"] is True
        assert held["PidsLimit"] > 0
        assert held["Memory"] > 0
        sources = {mount["Source"] for mount in found["Mounts"] if mount["Type"] == "bind"}
        assert sources <= {str(deployed.state), str(deployed.state / "postgresql")}
        inside = ["exec", "-T", service, "cat", "/proc/1/status"]
        assert "CapBnd:\t0000000000000000\n" in deployed.compose(*inside)
    assert deployed.inspect("database")["HostConfig"]["NetworkMode"] == "none"
    ports = deployed.inspect("server")["HostConfig"]["PortBindings"].values()
    assert {one["HostIp"] for bound in ports for one in bound} == {"127.0.0.1"}


def test_a_server_outlives_its_database(deployed: Deployed) -> None:
    """It says so, and where that is to nobody without a token; when the database is back, all goes on."""
    made = ["--database", f"postgresql://isolation@/isolation?host={deployed.state}/postgresql", "token", "new", "ann"]
    done = subprocess.run(
        [ISOLATION, "--state", str(deployed.state), *made], capture_output=True, text=True, check=True
    )
    with httpx2.Client(base_url=deployed.url, headers={"Authorization": f"Bearer {done.stdout.strip()}"}) as client:
        until(lambda: client.get("/v1/context").is_success)
        deployed.compose("stop", "database")
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["problems"]) == (503, ["the database does not answer"])
        until(lambda: client.get("/v1/context").status_code == 503)
        assert client.get("/v1/context").json()["code"] == "database_lost"
        deployed.compose("start", "database")
        until(lambda: client.get("/v1/context").is_success)

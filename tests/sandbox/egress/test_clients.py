"""What people use, unchanged: urllib and requests, through the real forwarder and the real proxy, by the variables."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from isolation.model.endpoint import Endpoint
from isolation.model.network import Network
from isolation.sandbox.egress.inside import PORT, variables
from tests.sandbox.egress.conftest import LOOPBACK, Names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.egress.conftest import Cell, Open, Outside

RUNNER = Path(__file__).parents[3] / "runner_image"
FORWARD = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from forwarder import forward
forward({socket.socket(fileno=int(sys.argv[2])): ""}, sys.argv[3])
"""
CLIENTS = {
    "urllib": """
import json, ssl, sys, urllib.request
url, trust = sys.argv[1:]
try:
    with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=trust)) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
""",
    "requests": """
import json, sys, requests
url, trust = sys.argv[1:]
try:
    answer = requests.get(url, verify=trust, timeout=20)
    print(json.dumps([answer.status_code, answer.text]))
except requests.RequestException as error:
    print(json.dumps([0, str(error)]))
""",
}


@pytest.fixture
def cell(open_cell: Open, outside: Outside) -> Cell:
    place = Endpoint("site.example", outside.port)
    return open_cell(str(place), f"{LOOPBACK}:{outside.port}", resolver=Names(site_example=[[LOOPBACK]]))


@pytest.fixture
def told(cell: Cell) -> Iterator[dict[str, str]]:
    """Start a forwarder to the cell's proxy, and return the variables that a step would have."""
    with socket.create_server((LOOPBACK, 0), backlog=128) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        program = [sys.executable, "-c", FORWARD, str(RUNNER), str(fd), str(cell.path)]
        with subprocess.Popen(program, pass_fds=[fd]) as process:
            network = Network(allow=(Endpoint("site.example", 443),))
            yield {name: value.replace(str(PORT), str(port)) for name, value in variables(network).items()}
            process.kill()


def fetch(client: str, url: str, told: dict[str, str], trust: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", CLIENTS[client], url, str(trust)],
        env=told, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, text = json.loads(done.stdout)
    return status, text


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    return tmp_path / "authority.pem"


@pytest.fixture
def authority(trust: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(trust))
    return authority


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize("client", CLIENTS)
def test_http_just_works(client: str, told: dict[str, str], trust: Path, outside: Outside) -> None:
    """An allowed name is fetched, another is answered with the entry that it would need."""
    assert fetch(client, f"http://site.example:{outside.port}/", told, trust) == (200, "hello")

    status, text = fetch(client, "http://other.example/", told, trust)
    assert status in {0, 403}
    assert "the policy's network needs the entry 'other.example:80'" in text


@pytest.mark.parametrize("client", CLIENTS)
def test_https_just_works(
    client: str, told: dict[str, str], trust: Path, authority: trustme.CA, outside: Outside
) -> None:
    """In a tunnel, with the client's own trust; of a refused tunnel the reason is told, too."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("site.example").configure_cert(theirs)
    outside.socket = theirs.wrap_socket(outside.socket, server_side=True)

    assert fetch(client, f"https://site.example:{outside.port}/", told, trust) == (200, "hello")

    status, text = fetch(client, "https://other.example/", told, trust)
    assert status == 0
    assert "the policy's network needs the entry" in text
    assert "other.example:443" in text


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize("client", CLIENTS)
def test_the_cells_own_loopback_is_not_asked_of_the_proxy(
    client: str, told: dict[str, str], trust: Path, cell: Cell, outside: Outside
) -> None:
    """A recipe may run a server of its own, and speak to it without anybody's leave."""
    assert fetch(client, f"http://{LOOPBACK}:{outside.port}/", told, trust) == (200, "hello")

    assert cell.proxy.traffic().decisions == ()

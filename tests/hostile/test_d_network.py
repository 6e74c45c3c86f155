"""Rows 64 to 70 in a cell without a network: there is its own loopback, and nothing that leads out of it."""

from __future__ import annotations

import http.server
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from isolation.errors import PackageError, RecipeError
from isolation.model.outcome import Outcome
from isolation.sandbox.engine import engine_address
from tests.hostile.kit import outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

AWAY = {"ENETUNREACH", "EADDRNOTAVAIL", "EHOSTUNREACH", "ENETDOWN"}
"""What the kernel says of a place to which no way leads; none of these means that a packet went anywhere."""

TRY = """
import errno, os, socket

def tried(family, kind, address, port, payload=b"x"):
    with socket.socket(family, kind) as own:
        own.settimeout(5)
        try:
            own.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                own.send(payload)
                own.recv(1)
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return errno.errorcode[error.errno]
    return "done"

def run(context, params):
    found = {}
    for address in params["addresses"]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port in params["ports"]:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                found[f"{address} {port} {kind.name}"] = tried(family, kind, address, port)
    return found
"""


def addresses_of_the_host() -> list[str]:
    families = {socket.AF_INET, socket.AF_INET6}
    found = [one.address for addresses in psutil.net_if_addrs().values() for one in addresses if one.family in families]
    return sorted({address.partition("%")[0] for address in found if not address.startswith(("127.", "::1"))})


PUBLIC = ["1.1.1.1", "8.8.8.8", "192.0.2.1", "2606:4700:4700::1111", "224.0.0.1", "255.255.255.255", "ff02::1"]
NEAR = ["172.17.0.1", "172.17.0.2", "10.0.0.1", "192.168.0.1", "192.168.65.2", "100.64.0.1", "fe80::1"]
METADATA = ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "169.254.169.123"]


def test_row_064_no_packet_leaves_the_cell(attack: Attack) -> None:
    """Public addresses, the engine's bridge, the host's own, link-local ones and groups: there is no way to any."""
    addresses = [*dict.fromkeys([*PUBLIC, *NEAR, *addresses_of_the_host()])]
    found = outputs_of(attack(TRY, args={"addresses": addresses, "ports": [53, 80, 443]}))

    assert len(found) == len(addresses) * 6
    assert {place: answer for place, answer in found.items() if answer not in AWAY | {"EACCES", "EINVAL"}} == {}


def test_row_064_what_listens_on_the_hosts_loopback_is_not_there(attack: Attack) -> None:
    """Its loopback is not ours: a listener of the host's gets no connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        ports = [four.getsockname()[1], six.getsockname()[1]]
        found = outputs_of(
            attack(TRY, args={"addresses": ["127.0.0.1", "::1", "127.0.1.1", "127.255.255.254"], "ports": ports})
        )
        for listener in (four, six):
            listener.settimeout(0)
            with pytest.raises(BlockingIOError):
                listener.accept()

    assert set(found.values()) <= {"ECONNREFUSED", *AWAY}


LOOK = """
import errno
def lines(path):
    try:
        return open(path).read().splitlines()
    except OSError as error:
        return errno.errorcode[error.errno]
def run(context, params):
    return {"devices": lines("/proc/net/dev"), "routes": lines("/proc/net/route"), "neighbours": lines("/proc/net/arp")}
"""


def test_row_064_there_is_one_interface_and_no_route(attack: Attack) -> None:
    """And no socket with which one could make or ask for another."""
    found = outputs_of(attack(LOOK))

    assert [line.partition(":")[0].strip() for line in found["devices"] if ":" in line] == ["lo"]
    assert found["routes"][1:] == []
    assert found["neighbours"] == "ENOENT" or found["neighbours"][1:] == []


def test_row_065_no_cloud_tells_a_cell_who_it_is(attack: Attack) -> None:
    """Whoever reaches these addresses has the host's credentials."""
    found = outputs_of(attack(TRY, args={"addresses": METADATA, "ports": [80, 53]}))

    assert {place: answer for place, answer in found.items() if answer not in AWAY} == {}


LISTEN = """
import errno, socket
def run(context, params):
    def knock():
        with socket.socket() as own:
            try:
                own.connect(("127.0.0.1", 8080))
            except OSError as error:
                return errno.errorcode[error.errno]
        return "done"
    before = knock()
    with socket.create_server(("127.0.0.1", 8080)) as own:
        print("bound", flush=True)
        if params["stay"]:
            own.accept()
            print("somebody came", flush=True)
        return {"before": before, "own": knock()}
"""


def test_row_066_two_runs_have_the_same_port_and_do_not_meet(attack: Attack, arena: Arena) -> None:
    """Each has a loopback of its own, on which all its ports are free, and works."""
    second: list[dict[str, Any]] = []
    over = threading.Event()

    def beside() -> None:
        second.append(outputs_of(arena.attack(LISTEN, args={"stay": False})))
        over.set()

    first = attack(LISTEN, args={"stay": True}, during=beside, cancel=over)

    assert second == [{"before": "ECONNREFUSED", "own": "done"}]
    assert first.outcome is Outcome.CANCELLED
    assert [line.text for line in arena.controller.stores.logs.read(first.run_id)] == ["bound"]


def test_row_067_abstract_sockets_of_the_host_are_not_there(attack: Attack) -> None:
    """They belong to the network's namespace, and need no file: one of the host's and every other one is tried."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0isolation-hostile")
        listener.listen()
        names = {line.split()[-1][1:] for line in Path("/proc/net/unix").read_text().splitlines() if " @" in line}
        assert "isolation-hostile" in names
        found = outputs_of(
            attack(
                """
                import errno, socket
                def run(context, params):
                    found = {}
                    for name in params["names"]:
                        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                            with socket.socket(socket.AF_UNIX, kind) as own:
                                try:
                                    own.connect("\\0" + name)
                                    found[name] = "done"
                                except OSError as error:
                                    found.setdefault(name, errno.errorcode[error.errno])
                    return found
                """,
                args={"names": sorted(names)},
            )
        )

    assert found == dict.fromkeys(names, "ECONNREFUSED")


ENGINES = (
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/var/run/crio/crio.sock",
    "/run/user/1000/docker.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/isolation",
    "/var/lib/docker",
)


def test_row_068_no_engine_can_be_reached(attack: Attack) -> None:
    """Neither its socket nor its port, wherever engines have had one."""
    paths = [*ENGINES, engine_address().removeprefix("unix://")]
    seen = outputs_of(
        attack(
            "import os\ndef run(context, params):\n    return {p: os.path.lexists(p) for p in params['paths']}",
            args={"paths": paths},
        )
    )
    addresses = ["127.0.0.1", "172.17.0.1", "192.168.65.7", "192.168.65.254", "::1"]
    found = outputs_of(attack(TRY, args={"addresses": addresses, "ports": [2375, 2376, 2377, 4243, 10250]}))

    assert seen == dict.fromkeys(paths, False)
    assert set(found.values()) <= {"ECONNREFUSED", *AWAY}


def test_row_069_no_name_is_looked_up_for_a_cell(attack: Attack) -> None:
    """The engine's own resolver answers in a cell's place on other networks, and asks the world."""
    found = outputs_of(
        attack(
            """
            import socket
            def run(context, params):
                found = {}
                for name in params["names"]:
                    try:
                        socket.getaddrinfo(name, 80)
                        found[name] = "found"
                    except OSError as error:
                        found[name] = "not found"
                servers = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")]
                return {"names": found, "servers": servers}
            """,
            args={
                "names": [
                    "example.org",
                    "host.docker.internal",
                    "gateway.docker.internal",
                    "docker",
                    socket.gethostname(),
                ]
            },
        )
    )
    asked = outputs_of(attack(TRY, args={"addresses": ["127.0.0.11", *found["servers"]], "ports": [53]}))

    assert set(found["names"].values()) == {"not found"}
    assert set(asked.values()) <= {"ECONNREFUSED", *AWAY}


class Counting(http.server.BaseHTTPRequestHandler):
    """Counts who asks."""

    asked: list[str]

    def do_GET(self) -> None:
        """Count."""
        self.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_POST = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def counting() -> Iterator[tuple[str, list[str]]]:
    """Have a server on the host's loopback; gives its address, and what it was asked."""
    asked: list[str] = []
    handler = type("Handler", (Counting,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


STEP = "steps: [{name: a, module: work, function: run}]\n"
ASKING = {
    "a webhook": "webhook: URL/hook\n" + STEP,
    "an image": "image: URL/image:latest\n" + STEP,
    "a file": "files: ['URL/file']\n" + STEP,
    "a requirement by address": "metadata: {name: a, requirements: ['a @ URL/a-1-py3-none-any.whl']}\n" + STEP,
    "a repository": "metadata: {name: a, requirements: ['a @ git+URL/a.git']}\n" + STEP,
    "another index": "metadata: {name: a, requirements: ['--index-url URL/simple a']}\n" + STEP,
    "a list of requirements": "metadata: {name: a, requirements: ['-r URL/requirements.txt']}\n" + STEP,
    "a module": "steps: [{name: a, module: 'URL/m', function: run}]\n",
    "a schema": "$schema: URL/schema.json\n" + STEP,
    "a tag": "%TAG ! URL/\n---\n" + STEP,
}


@pytest.mark.parametrize("what", ASKING)
def test_row_070_the_controller_fetches_nothing_that_a_recipe_names(arena: Arena, what: str) -> None:
    """It can reach what a cell cannot: its own database, the cloud's metadata, the network around it."""
    folder = arena.recipe("def run(context, params): ...")
    with counting() as (url, asked):
        (folder / "recipe.yaml").write_text(ASKING[what].replace("URL", url))
        with pytest.raises((RecipeError, PackageError)):
            arena.controller.run(folder, policy=arena.policy())

    assert asked == []


def test_row_070_an_address_as_data_is_data(attack: Attack) -> None:
    """In arguments, configuration and descriptions nobody follows it; the recipe itself cannot."""
    with counting() as (url, asked):
        result = attack(
            "def run(context, params):\n    context.set('url', params['url'])\n    return params",
            args={"url": f"{url}/args"},
            extra=f"config: {{callback: '{url}/config'}}",
        )

    assert result.changes.set == {"url": f"{url}/args"}
    assert asked == []

"""Listed endpoints of TCP on the real engine: a program connects to the name and port that it would use anyway."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.model.policy import Policy
from isolation.sandbox.egress.folder import Egresses
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.sandbox.egress.conftest import LOOPBACK, Names, network, outputs_of, threads
from tests.sandbox.test_warm_cells import await_idle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.sandbox.conftest import Recipe
    from tests.sandbox.egress.conftest import Reach

    Listen = Callable[[bytes], int]

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

SPEAK = """
import errno, socket

def tried(do):
    try:
        return do()
    except socket.gaierror as error:
        return error.strerror
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def ask(name, port, said=b"x"):
    def do():
        with socket.create_connection((name, port), timeout=10) as client:
            greeting = client.recv(100)
            client.sendall(said)
            return (greeting + client.recv(100)).decode()
    return tried(do)
"""


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Give a function that serves connections: it greets first, as many do who speak no HTTP, then sends all back."""
    with contextlib.ExitStack() as stack:

        def begin(greeting: bytes) -> int:
            server = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=128))
            serving: list[threading.Thread] = []

            def serve(connection: socket.socket) -> None:
                with connection, contextlib.suppress(OSError):
                    connection.sendall(greeting)
                    while piece := connection.recv(65536):
                        connection.sendall(piece)

            def live() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        serving.append(threading.Thread(target=serve, args=(server.accept()[0],)))
                        serving[-1].start()

            def end() -> None:
                server.shutdown(socket.SHUT_RDWR)
                for thread in [listening, *serving]:
                    thread.join()

            listening = threading.Thread(target=live)
            listening.start()
            stack.callback(end)
            port: int = server.getsockname()[1]
            return port

        yield begin


def test_a_program_connects_to_the_name_and_port_that_it_would_use_anyway(reach: Reach, listen: Listen) -> None:
    """Two names, and the connections of each are to its own server; neither is an interface, and all is on record."""
    one, two = listen(b"one:"), listen(b"two:")
    result = reach(
        f"""
        {SPEAK.replace(chr(10), chr(10) + "        ")}
        def run(context, params):
            return {{
                "one": ask("one.example", {one}),
                "two": ask("two.example", {two}),
                "interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
                "hosts": open("/etc/hosts").read(),
                "replaced": tried(lambda: open("/etc/hosts", "w").write("")),
            }}
        """,
        f"{LOOPBACK}:{one}", f"{LOOPBACK}:{two}", tcp=[f"one.example:{one}", f"two.example:{two}"],
        names=Names(one_example=[[LOOPBACK]], two_example=[[LOOPBACK]]),
    )  # fmt: skip

    assert outputs_of(result) == {
        "one": "one:x",
        "two": "two:x",
        "interfaces": ["lo"],
        "hosts": "127.64.0.1 one.example\n127.64.0.2 two.example\n",
        "replaced": "EROFS",
    }
    decisions = result.attempts[0].network.decisions
    assert [(line.via, line.host, line.port) for line in decisions] == [
        ("tcp", "one.example", one),
        ("tcp", "two.example", two),
    ]
    assert [(line.allowed, line.bytes_sent, line.bytes_received) for line in decisions] == [(True, 1, 5)] * 2
    assert all(line.wall_s is not None for line in decisions)
    attestation = result.attempts[0].attestation
    assert attestation is not None
    assert not attestation.having("mismatch")


@pytest.mark.usefixtures("crun")
def test_under_crun_it_is_the_same(reach: Reach, listen: Listen) -> None:
    """The hosts file is a mount like the others."""
    port = listen(b"here:")
    result = reach(
        SPEAK + f'\ndef run(context, params):\n    return {{"said": ask("db.example", {port})}}\n',
        f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], names=Names(db_example=[[LOOPBACK]]), runtime="crun",
    )  # fmt: skip

    assert outputs_of(result) == {"said": "here:x"}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")
def test_a_cell_that_stood_ready_has_them_too(tmp_path: Path, recipe: Recipe, listen: Listen) -> None:
    """Its hosts file is mounted when it is claimed, so it waits for any run, and is attested with it."""
    port = listen(b"here:")
    folder = recipe(SPEAK + f'\ndef run(context, params):\n    return {{"said": ask("db.example", {port})}}\n')
    policy = Policy(name="test", network=network([f"{LOOPBACK}:{port}"], [f"db.example:{port}"]))
    with open_controller(Settings(state=tmp_path / "state"), idle=1) as controller:
        controller.cells._egresses = Egresses(SystemClock(), resolver=Names(db_example=[[LOOPBACK]]))
        await_idle(controller, Policy(name="test"))

        result = controller.run(folder, policy=policy)

    assert outputs_of(result) == {"said": "here:x"}
    attestation = result.attempts[0].attestation
    assert attestation is not None
    assert attestation.cell == "warm"
    assert not attestation.having("mismatch")
    assert threads() == []


def test_what_is_not_listed_fails_at_once_and_says_so(reach: Reach, listen: Listen) -> None:
    """A name by not being known, a port by refusing; what a listed name leads to, by a reset and on record."""
    port = listen(b"here:")
    result = reach(
        f"""
        {SPEAK.replace(chr(10), chr(10) + "        ")}
        def run(context, params):
            return {{
                "another port": ask("db.example", {port} + 1),
                "another name": ask("other.example", {port}),
                "a name below": ask("x.db.example", {port}),
                "the address": ask("192.0.43.8", {port}),
                "inwards": ask("imds.example", 80),
                "private": ask("db.example", {port}),
                "nobody": ask("nobody.example", 5432),
            }}
        """,
        tcp=[f"db.example:{port}", "imds.example:80", "nobody.example:5432"],
        names=Names(db_example=[[LOOPBACK]], imds_example=[["169.254.169.254"]]),
    )  # fmt: skip

    assert outputs_of(result) == {
        "another port": "ECONNREFUSED",
        "another name": "Name or service not known",
        "a name below": "Name or service not known",
        "the address": "ENETUNREACH",
        "inwards": "ECONNRESET",
        "private": "ECONNRESET",
        "nobody": "ECONNRESET",
    }
    needs = "the policy's network needs the entry"
    inwards, private, nobody = result.attempts[0].network.decisions
    assert inwards.why == (
        f"imds.example is allowed, but its address 169.254.169.254 is a metadata service; {needs} '169.254.169.254:80'"
    )
    assert private.why == (
        f"db.example is allowed, but its address {LOOPBACK} is a loopback address; {needs} '{LOOPBACK}:{port}'"
    )
    assert nobody.why.startswith("nobody.example has no address: ")
    assert [inwards.allowed, private.allowed, nobody.allowed] == [False, False, False]


def test_who_speaks_to_the_socket_itself_gets_no_further(reach: Reach, listen: Listen) -> None:
    """The name is said by the cell, and so is a lie: it is the host that compares it with the policy."""
    port = listen(b"here:")
    result = reach(
        f"""
        import socket
        def say(content):
            with socket.socket(socket.AF_UNIX) as way:
                way.settimeout(10)
                way.connect("/egress/proxy.sock")
                way.sendall(content)
                return way.recv(1000).decode().partition(":")[0]
        def connect(place):
            return say(f"CONNECT {{place}} HTTP/1.1\\r\\nHost: {{place}}\\r\\n\\r\\n".encode()).splitlines()[0]
        def run(context, params):
            return {{
                "listed": connect("db.example:{port}"),
                "its other port": connect("db.example:22"),
                "an address": connect("10.0.0.1:{port}"),
                "another": connect("other.example:{port}"),
                "two names": say(b"CONNECT db.example:{port} HTTP/1.1\\r\\nHost: a\\r\\nHost: b\\r\\n\\r\\n"),
                "no HTTP": say(b"\\0\\0\\0\\x08\\x04\\xd2\\x16\\x2f\\r\\n\\r\\n"),
            }}
        """,
        f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], names=Names(db_example=[[LOOPBACK]]),
    )  # fmt: skip

    said = outputs_of(result)
    assert said.pop("listed") == "HTTP/1.1 200 Connection established"
    assert {answer.split()[1] for answer in said.values()} <= {"400", "403"}, said


def test_a_flood_from_a_cell_is_served_and_leaves_nothing(reach: Reach, listen: Listen) -> None:
    """More at once than either side serves: the others wait, each gets its own bytes, whole, and all are counted."""
    port = listen(b"")
    result = reach(
        f"""
        import os, socket
        from concurrent.futures import ThreadPoolExecutor
        def echo(number):
            content = os.urandom(30_000)
            with socket.create_connection(("db.example", {port}), timeout=60) as client:
                for at in range(0, len(content), 10_000):
                    client.sendall(content[at : at + 10_000])
                    heard = b""
                    while len(heard) < 10_000:
                        heard += client.recv(65536)
                    if heard != content[at : at + 10_000]:
                        return False
            return True
        def run(context, params):
            with ThreadPoolExecutor(100) as clients:
                return {{"whole": sum(clients.map(echo, range(100)))}}
        """,
        f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], names=Names(db_example=[[LOOPBACK]]),
    )  # fmt: skip

    assert outputs_of(result) == {"whole": 100}
    traffic = result.attempts[0].network
    assert [line for line in traffic.decisions if line.via != "tcp" or not line.allowed] == []
    assert (traffic.bytes_sent, traffic.bytes_received) == (3_000_000, 3_000_000)


def test_connections_that_nobody_ends_end_with_the_run(reach: Reach, listen: Listen) -> None:
    """Half-open ones, still ones, and one in the middle of a word; by a process that outlives its step."""
    port = listen(b"here:")
    result = reach(
        f"""
        import os, socket
        def run(context, params):
            stands, standing = os.pipe()
            if os.fork():
                return {{"standing": os.read(stands, 5).decode()}}
            os.setsid()
            held = [socket.create_connection(("db.example", {port}), timeout=20) for _ in range(40)]
            held[0].shutdown(socket.SHUT_WR)
            held[1].sendall(b"half a wo")
            heard = b""
            while heard != b"here:half a wo":
                heard += held[1].recv(100)
            os.write(standing, heard[:5])
            held[2].recv(1)
        """,
        f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], names=Names(db_example=[[LOOPBACK]]),
    )  # fmt: skip

    assert outputs_of(result) == {"standing": "here:"}
    assert threads() == []
    assert result.attempts[0].network.bytes_sent == len("half a wo")

"""Listed endpoints of TCP, as the proxy sees them: by name, checked and counted as all else, and bounded."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.dial import _watch
from tests.sandbox.egress.conftest import LOOPBACK, Names, hear_all, threads
from tests.sandbox.egress.test_tunnels import Serve, connect, echo, serve

if TYPE_CHECKING:
    from tests.sandbox.egress.conftest import Open

__all__ = ["serve"]

DB = Names(db_example=[[LOOPBACK]])


def test_an_endpoint_of_tcp_is_on_record_as_such(open_cell: Open, serve: Serve) -> None:
    """Name, address, bytes in both directions, and how long it was open."""
    port = serve(echo)
    cell = open_cell(f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], resolver=DB)

    with connect(cell, f"db.example:{port}") as client:
        client.sendall(b"whatever it speaks")
        client.shutdown(socket.SHUT_WR)
        assert hear_all(client) == b"whatever it speaks"
    cell.proxy.close()

    (decision,) = cell.proxy.traffic().decisions
    assert (decision.via, decision.host, decision.port, decision.address) == ("tcp", "db.example", port, LOOPBACK)
    assert (decision.bytes_sent, decision.bytes_received, decision.allowed, decision.why) == (18, 18, True, "")
    assert decision.wall_s is not None
    assert decision.wall_s > 0


REFUSED = {
    "another port": ("db.example:5433", "db.example:5433 is not allowed; the policy's network needs the entry"),
    "another name": ("other.example:5432", "other.example:5432 is not allowed"),
    "a name below": ("x.db.example:5432", "x.db.example:5432 is not allowed"),
    "its address": (f"{LOOPBACK}:5432", f"{LOOPBACK}:5432 is not allowed"),
    "where it leads": (
        "db.example:5432",
        f"db.example is allowed, but its address {LOOPBACK} is a loopback address; the policy's network needs",
    ),
    "a metadata service": ("imds.example:80", "imds.example is allowed, but its address 169.254.169.254 is a metadata"),
}


@pytest.mark.parametrize(("place", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_listed_is_refused_by_the_same_rules(open_cell: Open, place: str, why: str) -> None:
    """One port each, exact names, and no address that no entry lists: as for HTTP, and on record with the reason."""
    names = Names(db_example=[[LOOPBACK]], imds_example=[["169.254.169.254"]])
    cell = open_cell(tcp=["db.example:5432", "imds.example:80"], resolver=names)

    answer = cell.ask(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())

    assert answer.startswith(f"HTTP/1.1 403 Forbidden: {why}".encode())
    (decision,) = cell.proxy.traffic().decisions
    assert not decision.allowed
    assert decision.why.startswith(why)
    assert (decision.bytes_sent, decision.bytes_received, decision.address) == (0, 0, "")


def test_a_name_that_leads_elsewhere_the_second_time_is_refused_then(open_cell: Open, serve: Serve) -> None:
    """D 69, rebinding: each connection is to the very address that was checked for it."""
    port = serve(echo)
    names = Names(db_example=[[LOOPBACK], ["169.254.169.254"]])
    cell = open_cell(f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], resolver=names)
    connect(cell, f"db.example:{port}").close()

    answer = cell.ask(f"CONNECT db.example:{port} HTTP/1.1\r\nHost: db.example:{port}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert names.asked == ["db.example", "db.example"]


def test_a_still_connection_stays_where_a_tunnel_does_not(open_cell: Open, serve: Serve) -> None:
    """A pool's connections rest, and a long query says nothing; a tunnel of HTTP is cut."""
    resting, talking = serve(echo), serve(echo)
    listed = [f"{LOOPBACK}:{resting}", f"{LOOPBACK}:{talking}", f"db.example:{talking}"]
    cell = open_cell(*listed, tcp=[f"db.example:{resting}"], resolver=DB, bounds=Bounds(idle_s=0.2))

    with connect(cell, f"db.example:{resting}") as still, connect(cell, f"db.example:{talking}") as tunnel:
        assert hear_all(tunnel) == b""
        still.sendall(b"still here")
        assert still.recv(100) == b"still here"
        tunnel_line = next(one for one in cell.proxy.traffic().decisions if one.via == "connect")
        assert tunnel_line.why == "nothing moved for 0.2 s"


def test_a_flood_of_connections_is_served_a_few_at_a_time_and_cut_at_the_end(open_cell: Open) -> None:
    """Whoever asks for more waits; nothing of it outlives the cell, however still it is."""
    with socket.create_server((LOOPBACK, 0), backlog=128) as server:
        port = server.getsockname()[1]
        cell = open_cell(
            f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], resolver=DB, bounds=Bounds(connections=4, waiting=128)
        )
        clients = [cell.connect() for _ in range(50)]
        for client in clients:
            client.sendall(f"CONNECT db.example:{port} HTTP/1.0\r\n\r\n".encode())
        taken = [server.accept()[0] for _ in range(4)]
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
        assert len(threads()) == 5, "one that takes connections, four that serve them"

        cell.proxy.close()

        assert threads() == []
        for connection in (*taken, *clients):
            connection.close()
    assert len(cell.proxy.traffic().decisions) == 4


def test_a_server_that_reads_slowly_holds_back_who_sends(open_cell: Open, serve: Serve) -> None:
    """A gigabyte would not fit into this process: what is in no socket's buffer waits with its sender."""
    let_go, heard = threading.Event(), bytearray()

    def read_late(connection: socket.socket) -> None:
        let_go.wait(20)
        while piece := connection.recv(65536):
            heard.extend(piece)

    port = serve(read_late)
    cell = open_cell(f"{LOOPBACK}:{port}", tcp=[f"db.example:{port}"], resolver=DB)
    piece = b"x" * 65536

    with connect(cell, f"db.example:{port}") as client:
        client.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 2**30:
                sent += client.send(piece)
        assert sent < 64 * 2**20, "somebody keeps it"
        let_go.set()
        client.settimeout(20)
        client.shutdown(socket.SHUT_WR)
        assert hear_all(client) == b""

    assert len(heard) == sent


def test_the_kernel_is_told_to_look_after_a_far_end() -> None:
    """Within the time in which nothing may move in HTTP: half of it still, then three questions."""
    with socket.socket() as far:
        _watch(far, 60.0)

        assert far.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [far.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [30, 10, 3]


GONE = """
import socket, subprocess, sys, threading
from isolation.clock import SystemClock
from isolation.model.network import Network
from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.proxy import Proxy

class Leads:
    def addresses(self, host, port):
        return ["10.77.0.2"]

def ip(*words):
    subprocess.run(["ip", *words], check=True)

away = subprocess.Popen(["unshare", "--net", sys.executable, "-c", '''
import socket, subprocess, sys
def ip(*words):
    subprocess.run(["ip", *words], check=True)
print("in", flush=True)
sys.stdin.readline()
ip("addr", "add", "10.77.0.2/24", "dev", "there")
ip("link", "set", "there", "up")
server = socket.create_server(("10.77.0.2", 5432))
print("up", flush=True)
held = server.accept()
sys.stdin.readline()
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
assert away.stdout.readline() == "in\\n"
ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(away.pid))
ip("addr", "add", "10.77.0.1/24", "dev", "here")
ip("link", "set", "here", "up")
print("go", file=away.stdin, flush=True)
assert away.stdout.readline() == "up\\n"

listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0proxy")
listener.listen()
network = Network(allow=["10.77.0.2:5432"], tcp=["db.example:5432"])
proxy = Proxy(listener, network, resolver=Leads(), clock=SystemClock(), bounds=Bounds(idle_s=3))
client = socket.socket(socket.AF_UNIX)
client.settimeout(40)
client.connect("\\0proxy")
client.sendall(b"CONNECT db.example:5432 HTTP/1.1\\r\\nHost: db.example:5432\\r\\n\\r\\n")
print(client.recv(1000).decode().splitlines()[0], flush=True)
ip("link", "set", "here", "down")
ip("link", "set", "here", "up")  # a way again, but nobody there: no error comes back, only silence
ip("neigh", "replace", "10.77.0.2", "lladdr", "02:00:00:00:00:01", "dev", "here")
print(client.recv(1000), flush=True)
client.close()
proxy.close()
print(proxy.traffic().decisions[0].via)
away.kill()
"""


@pytest.mark.slow
@pytest.mark.root
def test_a_far_end_that_is_gone_without_a_word_is_found_out() -> None:
    """A cable that is pulled: no packet says so. In networks of the test's own."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("only root may make a network, and only with iproute2")

    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", GONE],  # noqa: S607 - where it lies differs
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.stdout.splitlines() == ["HTTP/1.1 200 Connection established", "b''", "tcp"], done.stderr

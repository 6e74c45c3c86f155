"""CONNECT: a tunnel to exactly one endpoint, in which the client's own TLS goes from end to end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trustme

from isolation.sandbox.egress.bounds import Bounds
from tests.sandbox.egress.conftest import LOOPBACK, Names, hear_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.egress.conftest import Cell, Open

Serve = Callable[[Callable[[socket.socket], object]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Give a function that serves one connection on the loopback, and returns its port."""
    with contextlib.ExitStack() as stack:

        def begin(do: Callable[[socket.socket], object]) -> int:
            listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))

            def live() -> None:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        do(connection)

            thread = threading.Thread(target=live)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            port: int = listener.getsockname()[1]
            return port

        yield begin


def echo(connection: socket.socket) -> None:
    """Send back what comes, and end when it ends."""
    while piece := connection.recv(65536):
        connection.sendall(piece)


def connect(cell: Cell, place: str, first: bytes = b"") -> socket.socket:
    """Ask for a tunnel, as HTTP/1.0 does, with no headers, and wait until it stands."""
    client = cell.connect()
    client.sendall(f"CONNECT {place} HTTP/1.0\r\n\r\n".encode() + first)
    heard = b""
    while not heard.endswith(b"\r\n\r\n"):
        heard += client.recv(1)
    assert heard.startswith(b"HTTP/1.1 200 "), heard
    return client


def test_the_clients_own_tls_ends_at_the_server(open_cell: Open, serve: Serve) -> None:
    """With the server's certificate and the client's trust: nothing between them can read, and we do not try to."""
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("secure.example").configure_cert(theirs)
    authority.configure_trust(ours)

    def answer(connection: socket.socket) -> None:
        with theirs.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(secure.recv(100).upper())

    port = serve(answer)
    names = Names(secure_example=[[LOOPBACK]])
    cell = open_cell(f"secure.example:{port}", f"{LOOPBACK}:{port}", resolver=names)

    with ours.wrap_socket(connect(cell, f"secure.example:{port}"), server_hostname="secure.example") as client:
        client.sendall(b"a secret")
        assert client.recv(100) == b"A SECRET"

    (decision,) = cell.proxy.traffic().decisions
    assert (decision.via, decision.host, decision.address) == ("connect", "secure.example", LOOPBACK)
    assert decision.bytes_sent > 500, "a handshake alone is larger"
    assert decision.bytes_received > 500


def test_another_servers_certificate_is_found_out_by_the_client(open_cell: Open, serve: Serve) -> None:
    """The test above proves nothing unless a client in a tunnel does check."""
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("other.example").configure_cert(theirs)
    authority.configure_trust(ours)

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError):
            theirs.wrap_socket(connection, server_side=True).recv(1)

    port = serve(answer)
    cell = open_cell(f"secure.example:{port}", f"{LOOPBACK}:{port}", resolver=Names(secure_example=[[LOOPBACK]]))

    tunnel = connect(cell, f"secure.example:{port}")
    with tunnel, pytest.raises(ssl.SSLCertVerificationError):
        ours.wrap_socket(tunnel, server_hostname="secure.example")


def test_a_tunnel_to_another_port_is_denied(open_cell: Open, serve: Serve) -> None:
    """One port an entry: the same host's database is another endpoint."""
    port = serve(echo)
    cell = open_cell(f"{LOOPBACK}:{port + 1}")

    answer = cell.ask(f"CONNECT {LOOPBACK}:{port} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\n\r\n".encode())

    assert answer.startswith(f"HTTP/1.1 403 Forbidden: {LOOPBACK}:{port} is not allowed".encode())
    assert cell.proxy.traffic().decisions[0].via == "connect"


def test_what_is_said_before_the_tunnel_stands_is_not_lost(open_cell: Open, serve: Serve) -> None:
    """A client may send its first bytes together with the request."""
    port = serve(echo)
    cell = open_cell(f"{LOOPBACK}:{port}")

    with connect(cell, f"{LOOPBACK}:{port}", b"at once") as client:
        assert client.recv(100) == b"at once"

    assert cell.proxy.traffic().bytes_sent == len(b"at once")


def test_one_side_may_end_before_the_other(open_cell: Open, serve: Serve) -> None:
    """All that was sent arrives, is counted and comes back, although the client said long ago that it has done."""
    port = serve(lambda connection: connection.sendall(hear_all(connection)))
    cell = open_cell(f"{LOOPBACK}:{port}")
    content = bytes(range(256)) * 20_000

    with connect(cell, f"{LOOPBACK}:{port}") as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        assert hear_all(client) == content

    traffic = cell.proxy.traffic()
    assert (traffic.bytes_sent, traffic.bytes_received) == (len(content), len(content))


def test_a_server_that_ends_ends_the_tunnel(open_cell: Open, serve: Serve) -> None:
    """The client is told at once, and not when it is idle for long."""
    port = serve(lambda connection: connection.sendall(b"goodbye"))
    cell = open_cell(f"{LOOPBACK}:{port}")

    with connect(cell, f"{LOOPBACK}:{port}") as client:
        assert hear_all(client) == b"goodbye"


def test_a_tunnel_in_which_nothing_moves_is_ended(open_cell: Open, serve: Serve) -> None:
    """It holds a thread and two descriptors of this host."""
    port = serve(echo)
    cell = open_cell(f"{LOOPBACK}:{port}", bounds=Bounds(idle_s=0.2))

    with connect(cell, f"{LOOPBACK}:{port}") as client:
        assert hear_all(client) == b""
    assert cell.proxy.traffic().decisions[0].why == "nothing moved for 0.2 s"

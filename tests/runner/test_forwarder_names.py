"""The forwarder for a named endpoint: it says the name, keeps the host's answer, and never makes a refusal an end."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.runner.test_forwarder import Begin, begin, client_of, hear_all

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["begin"]

NAME = "db.example.org:5432"
ASKED = f"CONNECT {NAME} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
YES = b"HTTP/1.1 200 Connection established\r\n\r\n"


def take(host: socket.socket, content: bytes) -> None:
    """Take exactly this."""
    heard = b""
    while len(heard) < len(content):
        piece = host.recv(len(content) - len(heard))
        assert piece, heard
        heard += piece
    assert heard == content


def answering(answer: bytes, then: Callable[[socket.socket], object] = hear_all) -> Callable[[socket.socket], None]:
    def serve(host: socket.socket) -> None:
        take(host, ASKED)
        host.sendall(answer)
        then(host)

    return serve


def test_the_name_is_said_first_and_the_answer_stays_with_the_forwarder(begin: Begin) -> None:
    """To the client it is a plain connection, in which either side may speak first."""
    port = begin(answering(YES + b"welcome", lambda host: host.sendall(hear_all(host))), name=NAME)
    content = bytes(range(256)) * 40_000

    with client_of(port) as client:
        assert client.recv(7) == b"welcome"
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        assert hear_all(client) == content


def test_an_answer_that_drips_in_is_kept_whole(begin: Begin) -> None:
    """Each byte of it by itself; and what follows it in the same piece is the server's."""

    def drip(host: socket.socket) -> None:
        take(host, ASKED)
        for byte in YES:
            host.sendall(bytes([byte]))
        host.sendall(b"welcome")

    port = begin(drip, name=NAME)

    with client_of(port) as client:
        assert hear_all(client) == b"welcome"


def test_what_the_client_says_at_once_follows_the_name(begin: Begin) -> None:
    """It need not wait for an answer of which it knows nothing."""

    def serve(host: socket.socket) -> None:
        take(host, ASKED + b"SELECT 1")
        host.sendall(YES + b"1")

    port = begin(serve, name=NAME)

    with client_of(port) as client:
        client.sendall(b"SELECT 1")
        assert hear_all(client) == b"1"


NO = {
    "refused": b"HTTP/1.1 403 Forbidden: not allowed\r\ncontent-length: 4\r\n\r\nno\r\n",
    "unreachable": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
    "nothing": b"",
    "half": YES[:-1],
    "something else": b"SSH-2.0-OpenSSH\r\n\r\n",
    "without end": b"HTTP/1.1 200 " + b"x" * 100_000,
}


@pytest.mark.parametrize("answer", NO.values(), ids=NO)
def test_a_refusal_is_a_reset_and_never_an_end(begin: Begin, answer: bytes) -> None:
    """A program that reads to the end must not take a refusal for an empty answer; nothing of it reaches the client."""
    port = begin(answering(answer, lambda host: host.shutdown(socket.SHUT_WR)), name=NAME)

    with pytest.raises(ConnectionResetError), client_of(port) as client:
        raise AssertionError(client.recv(1000))


def test_a_refused_client_that_goes_on_talking_takes_nothing(begin: Begin) -> None:
    """Its descriptors are free at once, and the forwarder has nothing more to do."""
    port = begin(answering(NO["refused"]), name=NAME)
    process = begin.process
    with pytest.raises(ConnectionResetError), client_of(port) as first:
        first.recv(1)
    before = process.num_fds()

    for _ in range(20):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError), client_of(port) as client:
            while True:
                client.sendall(b"x" * 100_000)

    with pytest.raises(ConnectionResetError), client_of(port) as last:
        last.recv(1)
    until_s = time.monotonic() + 20
    while process.num_fds() > before:
        assert time.monotonic() < until_s, "descriptors are held for who was refused"
    idle = process.cpu_times()
    threading.Event().wait(0.3)
    assert process.cpu_times().user - idle.user < 0.1


def test_a_client_that_is_gone_before_the_answer_ends_the_host(begin: Begin) -> None:
    """Half-open from inside: the host is told, and nothing is kept for who left."""
    told = threading.Event()

    def serve(host: socket.socket) -> None:
        take(host, ASKED)
        hear_all(host)
        told.set()

    port = begin(serve, name=NAME)
    client = client_of(port)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    assert told.wait(20)

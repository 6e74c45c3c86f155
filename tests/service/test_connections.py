"""Who asks slowly, or holds too many connections, is let go of; everybody else is served meanwhile."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from psutil import Process

from tests.service.server import ISOLATION, Server
from tests.site import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
WHOLE = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"
OF_ONE = 500


def connected(server: Server, address: str = "127.0.0.1") -> socket.socket:
    """Connect from an address of this machine."""
    url = urlsplit(server.url)
    assert url.hostname is not None
    assert url.port is not None
    return socket.create_connection((url.hostname, url.port), 60, (address, 0))


def heard(client: socket.socket) -> bytes:
    """Hear what comes until the other side closes."""
    found = b""
    while chunk := client.recv(2**16):
        found += chunk
    return found


def test_who_does_not_finish_is_let_go_of_and_others_are_served(tmp_path: Path) -> None:
    """Whatever they send, and leave out: nothing, half a head, an empty line after an answer, half a body."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, "--slots", "0", "--patience", "2s"))
        silent, half, again, body, unread = (stack.enter_context(connected(server)) for _ in range(5))
        half.sendall(b"GET /version HTTP/1.1\r\nHost: a\r\nX-A: ")
        again.sendall(WHOLE)
        answered = b""
        while not answered.endswith(b"}"):
            answered += again.recv(2**16)
        again.sendall(b"\r\n")  # which is no head yet, and ends uvicorn's own time for an idle connection
        asked = f"PUT /v1/context/entry?key=a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {server.token}\r\n"
        body.sendall(f'{asked}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"value": '.encode())
        unread.sendall(b"GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nx")

        with server.client() as client:
            assert client.get("/v1/context").status_code == 200
        with connected(server) as client:  # as slow as may be, in pieces
            for piece in (WHOLE[:9], WHOLE[9:20], WHOLE[20:]):
                client.sendall(piece)
            assert client.recv(2**16).startswith(b"HTTP/1.1 200 ")

        assert heard(silent) == heard(half) == heard(again) == b""
        assert heard(body).startswith(b"HTTP/1.1 408 ")
        assert heard(unread).startswith(b"HTTP/1.1 200 ")
        with server.client() as client:
            assert client.get("/v1/context").json()["entries"] == []


def test_a_head_has_an_end(tmp_path: Path) -> None:
    """Its address, a header's name or value, and what a body in chunks may have between and after them: it is kept."""
    form = b"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n"
    chunked = b"POST /login HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + form + b"\r\n"
    with Server(tmp_path, "--slots", "0", "--patience", "5s") as server:
        for first, then in (
            (b"", b"GET /version?a="),
            (b"", b"GET /version HTTP/1.1\r\nHost: a\r\nX-A: "),
            (b"", b"GET /version HTTP/1.1\r\nHost: a\r\nX-"),
            (chunked, b"1;"),
            (chunked, b"0\r\nX-A: "),
        ):
            with connected(server) as client:
                if first:
                    client.sendall(first)
                    assert client.recv(2**16).startswith(b"HTTP/1.1 100 ")
                client.sendall(then + b"a" * 2**16)
                assert heard(client).startswith(b"HTTP/1.1 431 "), then
        with connected(server) as client:
            client.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nX-A: " + b"a" * (2**16 - 100) + b"\r\n\r\n"))
            assert client.recv(2**16).startswith(b"HTTP/1.1 200 ")


def test_who_does_not_take_an_answer_is_let_go_of(tmp_path: Path) -> None:
    """What was made ready for them is not held for ever."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, "--slots", "0", "--patience", "1s"))
        with server.client() as other:
            for some in range(5):
                big = {"set": {f"k.{some}.{number}": "x" * 60_000 for number in range(50)}}
                assert other.post("/v1/context/changes", json=big).status_code == 200
            assert other.post("/v1/context/dumps", json={"filename": "all"}).status_code == 200
        client = stack.enter_context(connected(server))
        port = client.getsockname()[1]

        def held() -> bool:
            return any(port in one.raddr for one in Process(server.process.pid).net_connections("tcp"))

        head = f"Host: a\r\nAuthorization: Bearer {server.token}\r\n\r\n"
        client.sendall(f"GET /v1/context/dumps/all.json HTTP/1.1\r\n{head}".encode())
        assert client.recv(9) == b"HTTP/1.1 "
        assert held()
        until(lambda: not held())


def test_one_address_cannot_have_all_connections(tmp_path: Path) -> None:
    """It has its share, is told so of one more, and others come in; what it closes is free again."""
    with Server(tmp_path, "--slots", "0") as server, ExitStack() as stack:
        held = [stack.enter_context(connected(server)) for _ in range(OF_ONE)]
        with connected(server) as one_more:
            head, _, said = heard(one_more).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in head
        assert json.loads(said)["code"] == "too_many_connections"
        with connected(server, "127.0.0.2") as other:
            other.sendall(WHOLE)
            assert other.recv(2**16).startswith(b"HTTP/1.1 200 ")
        held[0].close()

        def comes_in() -> bool:
            with connected(server) as client:
                client.sendall(WHOLE)
                return client.recv(2**16).startswith(b"HTTP/1.1 200 ")

        until(comes_in)


def test_who_only_begins_with_socket_io_is_let_go_of(tmp_path: Path) -> None:
    """It asks for a token last, and makes something of everybody before: so many of one address, in their time."""
    path = "/socket.io/?EIO=4&transport=polling"
    with Server(tmp_path, "--slots", "0", "--patience", "2s") as server, server.client("none") as client:
        begun = [client.get(path) for _ in range(OF_ONE)]
        assert {answer.status_code for answer in begun} == {200}
        more = client.get(path)
        assert (more.status_code, more.json()["code"]) == (503, "too_many_connections")
        with connected(server, "127.0.0.2") as other:
            other.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert other.recv(2**16).startswith(b"HTTP/1.1 200 ")
        session = json.loads(begun[-1].text[1:])["sid"]
        with connected(server) as slow:
            slow.sendall(f"POST {path}&sid={session} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n4".encode())
            assert heard(slow).startswith(b"HTTP/1.1 408 ")
        assert client.post(f"{path}&sid={session}", content=b"4" * 100_001).status_code == 413


def test_no_time_is_no_patience(tmp_path: Path) -> None:
    """Nobody could come in."""
    command = [ISOLATION, "--state", str(tmp_path), "serve", "--patience", "0s"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, "in no time" in ended.stderr) == (2, True)

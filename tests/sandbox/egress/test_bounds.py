"""What a cell may take of the host: connections, memory, time; and that nothing of it is left afterwards."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from isolation.clock import SystemClock
from isolation.sandbox.egress import proxy
from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.log import MOST_KEPT, Log
from tests.sandbox.egress.conftest import LOOPBACK, Names, hear_all, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.sandbox.egress.conftest import Cell, Open, Outside


def test_a_hundred_connections_at_once_are_served_a_few_at_a_time(open_cell: Open, outside: Outside) -> None:
    """The others wait, and none is lost."""
    cell = open_cell(f"{LOOPBACK}:{outside.port}", bounds=Bounds(connections=8))

    with ThreadPoolExecutor(100) as clients:
        asked = [clients.submit(cell.get, f"http://{LOOPBACK}:{outside.port}/hold") for _ in range(100)]
        for _ in range(8):
            assert outside.held.acquire(timeout=20)
        assert not outside.held.acquire(timeout=0.2), "a ninth is served"
        assert len(threads()) == 9, "one that takes connections, eight that serve them"
        outside.letting_go.set()
        answers = [asking.result() for asking in asked]

    assert [answer for answer in answers if b" 200 " not in answer] == []
    assert outside.most_present == 8
    assert len(cell.proxy.traffic().decisions) == 100


def test_a_head_that_drips_in_is_waited_for_only_so_long(open_cell: Open) -> None:
    """Each byte is in time, the whole is not: the deadline is for all of it."""
    cell = open_cell("site.example:80", bounds=Bounds(head_s=0.3))
    started_s = time.monotonic()

    with cell.connect() as client:
        client.settimeout(0.02)
        heard = b""
        for byte in b"GET http://site.example/" + b"x" * 1000:
            with contextlib.suppress(TimeoutError, BrokenPipeError):
                client.sendall(bytes([byte]))
                heard = client.recv(1000)
            if heard:
                break

    assert heard.startswith(b"HTTP/1.1 408 Request Timeout: no whole request within 0.3 s")
    assert 0.3 <= time.monotonic() - started_s < 5
    assert cell.proxy.traffic().decisions[0].why == "no whole request within 0.3 s"


@pytest.mark.parametrize("endless", [b"GET http://site.example/", b"GET http://site.example/ HTTP/1.1\r\nX: "])
def test_a_head_without_end_is_cut_off(open_cell: Open, endless: bytes) -> None:
    """Before it takes the host's memory."""
    cell = open_cell("site.example:80", bounds=Bounds(head_bytes=8192))

    with cell.connect() as client:
        with contextlib.suppress(BrokenPipeError):
            client.sendall(endless + b"x" * 100_000)
        assert client.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_server_that_says_nothing_is_waited_for_only_so_long(open_cell: Open, outside: Outside) -> None:
    """The client is told why, and so is the record."""
    cell = open_cell(f"{LOOPBACK}:{outside.port}", bounds=Bounds(idle_s=0.2))

    answer = cell.get(f"http://{LOOPBACK}:{outside.port}/hold")

    assert answer.startswith(b"HTTP/1.1 502 ")
    assert cell.proxy.traffic().decisions[0].why == "nothing moved for 0.2 s"


@pytest.fixture
def deaf() -> Iterator[int]:
    """Give a port where connections are neither taken nor refused: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_connection_that_nobody_takes_is_waited_for_only_so_long(open_cell: Open, deaf: int) -> None:
    """For all addresses of a name together."""
    names = Names(deaf_example=[[LOOPBACK] * 4])
    cell = open_cell(f"deaf.example:{deaf}", f"{LOOPBACK}:{deaf}", resolver=names, bounds=Bounds(connect_s=0.3))
    started_s = time.monotonic()

    answer = cell.get(f"http://deaf.example:{deaf}/")

    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"nobody answered in time" in answer
    assert 0.3 <= time.monotonic() - started_s < 4


def test_decisions_beyond_the_first_few_are_counted() -> None:
    """A recipe that asks without end fills no record; and the bytes are those of all."""
    log = Log(SystemClock())
    lines = [log.begin("connect", f"host{number}.example", 443) for number in range(MOST_KEPT + 10)]
    for line in lines:
        log.count(line, sent=2, received=3)

    traffic = log.traffic()

    assert [decision.host for decision in traffic.decisions] == [f"host{number}.example" for number in range(MOST_KEPT)]
    assert traffic.left_out == 10
    assert (traffic.bytes_sent, traffic.bytes_received) == (2 * len(lines), 3 * len(lines))


class Slow:
    """A name server that answers only when it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.letting_go = threading.Event()

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Wait."""
        assert host
        assert port
        self.asked.set()
        self.letting_go.wait(20)
        return [LOOPBACK]


def descriptors() -> int:
    return psutil.Process().num_fds()


def begin(cell: Cell, content: bytes) -> socket.socket:
    client = cell.connect()
    client.sendall(content)
    return client


def test_at_the_end_nothing_is_left_whatever_was_going_on(open_cell: Open, outside: Outside, deaf: int) -> None:
    """D 69: a connection does not outlive its cell. One that says nothing, one in its head, its body, a tunnel, ..."""
    before = descriptors()
    place = f"{LOOPBACK}:{outside.port}"
    cell = open_cell(place, f"{LOOPBACK}:{deaf}")
    head = f"POST http://{place}/ HTTP/1.1\r\nHost: {place}\r\nContent-Length: 100\r\n\r\n"
    clients = [
        begin(cell, b""),
        begin(cell, b"GET http://"),
        begin(cell, head.encode() + b"half"),
        begin(cell, f"GET http://{place}/hold HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()),
        begin(cell, f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()),
        begin(cell, f"CONNECT {LOOPBACK}:{deaf} HTTP/1.1\r\nHost: {LOOPBACK}:{deaf}\r\n\r\n".encode()),
    ]
    assert outside.held.acquire(timeout=20)
    assert clients[4].recv(12) == b"HTTP/1.1 200"

    cell.proxy.close()

    assert threads() == []
    for client in clients:
        with contextlib.suppress(ConnectionResetError), client:
            hear_all(client)
    with pytest.raises(ConnectionRefusedError):
        cell.connect()
    outside.letting_go.set()
    assert settles(descriptors, before)


def test_who_waits_for_a_name_server_is_left_behind_with_nothing_open(
    open_cell: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can wake it; so the run's end does not wait for it, and it does nothing more when it wakes up."""
    monkeypatch.setattr(proxy, "_END_S", 0.1)
    slow = Slow()
    cell = open_cell("site.example:80", resolver=slow)
    client = begin(cell, b"CONNECT site.example:80 HTTP/1.0\r\n\r\n")
    assert slow.asked.wait(20)

    cell.proxy.close()

    with contextlib.suppress(ConnectionResetError), client:
        assert hear_all(client) == b""
    assert len(threads()) == 1
    slow.letting_go.set()
    assert settles(lambda: len(threads()), 0)
    assert cell.proxy.traffic().decisions[0].address == ""


def test_a_proxy_can_be_closed_twice(open_cell: Open) -> None:
    """A cell that could not be taken back is taken back again."""
    cell = open_cell("site.example:80")

    cell.proxy.close()
    cell.proxy.close()

    assert threads() == []


def settles(measure: Callable[[], int], wanted: int) -> bool:
    """Wait until a number is what it should be; other threads are still on their way out."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        if measure() == wanted:
            return True
        threading.Event().wait(0.01)
    return False

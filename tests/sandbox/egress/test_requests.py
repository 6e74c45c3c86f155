"""Plain HTTP through the proxy: what is let through, what is changed on the way, what is turned away."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

import pytest

from isolation.model.traffic import Decision
from tests.sandbox.egress.conftest import LOOPBACK, Names, hear_all

if TYPE_CHECKING:
    from tests.sandbox.egress.conftest import Cell, Open, Outside


@pytest.fixture
def cell(open_cell: Open, outside: Outside) -> Cell:
    """Open a proxy that lets through one name, which leads to the server outside."""
    names = Names(site_example=[[LOOPBACK]])
    return open_cell(f"site.example:{outside.port}", f"{LOOPBACK}:{outside.port}", resolver=names)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_an_allowed_name_is_fetched_and_the_decision_kept(cell: Cell, outside: Outside) -> None:
    """The host resolves it, connects, and counts every byte in both directions."""
    answer = cell.get(f"http://site.example:{outside.port}/hello?5")

    assert (status(answer), body(answer)) == (200, b"xxxxx")
    (decision,) = cell.proxy.traffic().decisions
    ((asked, headers, _),) = outside.heard
    head = sum(len(f"{name}: {value}\r\n") for name, value in headers)
    assert decision == Decision(
        at=decision.at,
        via="http",
        host="site.example",
        port=outside.port,
        allowed=True,
        address=LOOPBACK,
        bytes_sent=len(asked) + 2 + head + 2,
        bytes_received=decision.bytes_received,
        wall_s=decision.wall_s,
    )
    assert decision.wall_s is not None
    assert len(body(answer)) < decision.bytes_received < len(answer) + 100
    assert cell.proxy.traffic().bytes_sent == decision.bytes_sent


@pytest.mark.parametrize(
    ("url", "needs"),
    [("http://other.example/", "other.example:80"), ("http://site.example:1/", "site.example:1"),
     ("http://127.0.0.2:99/", "127.0.0.2:99"), ("http://[::1]:99/", "[::1]:99")],
)  # fmt: skip
def test_what_is_not_listed_is_denied_with_the_entry_that_it_would_need(cell: Cell, url: str, needs: str) -> None:
    """In the status line too, which is all that some clients show; nobody outside is asked, not even a name server."""
    answer = cell.get(url)

    assert status(answer) == 403
    said = f"{needs} is not allowed; the policy's network needs the entry '{needs}'"
    assert answer.startswith(f"HTTP/1.1 403 Forbidden: {said}\r\n".encode())
    assert body(answer).decode() == f"isolation: {said}\n"
    (decision,) = cell.proxy.traffic().decisions
    assert (decision.allowed, decision.why, decision.address) == (False, said, "")
    assert (decision.bytes_sent, decision.bytes_received) == (0, 0)


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_a_body_arrives_whole_in_both_directions(cell: Cell, outside: Outside, size: int) -> None:
    """Of any size, and counted."""
    sent = b"y" * size
    head = f"POST http://site.example:{outside.port}/ HTTP/1.1\r\nHost: site.example:{outside.port}\r\n"

    answer = cell.ask(f"{head}Content-Length: {size}\r\n\r\n".encode() + sent)

    assert (status(answer), body(answer) == sent) == (200, True)
    traffic = cell.proxy.traffic()
    assert size < traffic.bytes_sent < size + 1000
    assert size < traffic.bytes_received < size + 1000


def test_a_body_in_chunks_arrives_whole(cell: Cell, outside: Outside) -> None:
    """Its framing is written anew on the other side."""
    head = f"POST http://site.example:{outside.port}/ HTTP/1.1\r\nHost: site.example:{outside.port}\r\n"

    answer = cell.ask(
        f"{head}Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n4\r\n you\r\n0\r\nA: b\r\n\r\n".encode()
    )

    assert body(answer) == b"hello you"
    assert outside.heard[0][2] == b"hello you"


@pytest.mark.parametrize("path", ["/chunks", "/until-the-end"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_without_a_length_arrives_whole(cell: Cell, outside: Outside, path: str, version: str) -> None:
    """However the server marks its end, in a way that the client's version knows."""
    with cell.connect() as client:
        place = f"site.example:{outside.port}"
        client.sendall(f"GET http://{place}{path} HTTP/{version}\r\nHost: {place}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.read() == b"hello world"


def test_a_head_request_has_an_answer_without_a_body(cell: Cell, outside: Outside) -> None:
    """The length is the one that a body would have."""
    answer = cell.ask(f"HEAD http://site.example:{outside.port}/ HTTP/1.0\r\n\r\n".encode())

    assert status(answer) == 200
    assert b"content-length: 5" in answer.lower()
    assert body(answer) == b""


def test_a_denied_head_request_has_none_either(cell: Cell) -> None:
    """Whatever the answer is: who sent HEAD reads no body, and would take one for the next answer."""
    answer = cell.ask(b"HEAD http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 403 Forbidden: other.example:80 is not allowed")
    assert body(answer) == b""


def test_what_is_meant_for_the_proxy_goes_no_further(cell: Cell, outside: Outside) -> None:
    """Hop-by-hop headers, those that Connection names, and credentials for a proxy; Host is written anew."""
    cell.ask(
        f"GET http://SITE.Example:{outside.port}/a?1 HTTP/1.1\r\nHost: site.example.:{outside.port}\r\n"
        "Connection: x-mine, content-length, host, keep-alive\r\nX-Mine: 1\r\nX-Yours: 2\r\nKeep-Alive: 3\r\n"
        "TE: trailers\r\nUpgrade: websocket\r\nProxy-Authorization: x\r\nProxy-Connection: keep-alive\r\n\r\n".encode()
    )

    ((asked, headers, _),) = outside.heard
    assert asked == "GET /a?1 HTTP/1.1"
    assert headers == [
        ("Host", f"site.example:{outside.port}"), ("X-Yours", "2"), ("Via", "1.1 isolation"), ("Connection", "close"),
    ]  # fmt: skip


def test_a_body_that_breaks_off_is_no_request(cell: Cell, outside: Outside) -> None:
    """What had gone out by then is on record; nobody outside saw a whole request."""
    head = f"POST http://site.example:{outside.port}/ HTTP/1.1\r\nHost: site.example:{outside.port}\r\n"

    answer = cell.ask(f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nhello".encode())

    assert status(answer) == 400
    assert "broke off" in cell.proxy.traffic().decisions[0].why
    assert [body for _, _, body in outside.heard if body] == []


def test_a_length_cannot_be_made_to_vanish_on_the_way(cell: Cell, outside: Outside) -> None:
    """Named in Connection it would be dropped, and the body read as the next request."""
    head = f"POST http://site.example:{outside.port}/ HTTP/1.1\r\nHost: site.example:{outside.port}\r\n"

    answer = cell.ask(f"{head}Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello".encode())

    assert body(answer) == b"hello"


def test_who_waits_to_be_told_to_go_on_is_told(cell: Cell, outside: Outside) -> None:
    """Some clients send a large body only after 100 Continue."""
    with cell.connect() as client:
        head = f"POST http://site.example:{outside.port}/ HTTP/1.1\r\nHost: site.example:{outside.port}\r\n"
        client.sendall(f"{head}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"hello")
        assert body(hear_all(client)) == b"hello"


def test_one_connection_carries_one_request(cell: Cell, outside: Outside) -> None:
    """What is sent after it could be taken for something else by somebody else; it is dropped."""
    one = f"GET http://site.example:{outside.port}/ HTTP/1.1\r\nHost: site.example:{outside.port}\r\n\r\n".encode()

    answer = cell.ask(one + one)

    assert answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer
    assert len(outside.heard) == 1


PLACE = "site.example:PORT"
SMUGGLED = {
    "two Host headers": f"GET http://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\nHost: evil.example\r\n\r\n",
    "another Host": f"GET http://{PLACE}/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "another port in Host": f"GET http://{PLACE}/ HTTP/1.1\r\nHost: site.example:1\r\n\r\n",
    "a Host that is none": f"GET http://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}/x\r\n\r\n",
    "no Host": f"GET http://{PLACE}/ HTTP/1.1\r\n\r\n",
    "two lengths of two kinds": f"POST http://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\nContent-Length: 3\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": f"POST http://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\nContent-Length: 3\r\n"
    "Content-Length: 4\r\n\r\nabcd",
    "a length that is none": f"POST http://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\nContent-Length: +3\r\n\r\nabc",
    "a coding that nobody knows": f"POST http://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\n"
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": f"GET http://{PLACE}/ HTTP/1.1\r\nHost : {PLACE}\r\n\r\n",
    "a line feed in the target": f"GET http://{PLACE}/\n HTTP/1.1\r\nHost: {PLACE}\r\n\r\n",
    "a NUL in a header": f"GET http://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\nX: a\0b\r\n\r\n",
    "somebody's name in the address": f"GET http://me@{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\n\r\n",
    "a name and a backslash": f"GET http://{PLACE}\\@evil.example/ HTTP/1.1\r\nHost: {PLACE}\r\n\r\n",
    "a fragment": f"GET http://{PLACE}/#x HTTP/1.1\r\nHost: {PLACE}\r\n\r\n",
    "a path alone": f"GET / HTTP/1.1\r\nHost: {PLACE}\r\n\r\n",
    "https": f"GET https://{PLACE}/ HTTP/1.1\r\nHost: {PLACE}\r\n\r\n",
    "an address in an odd spelling": "GET http://127.1:PORT/ HTTP/1.1\r\nHost: 127.1:PORT\r\n\r\n",
    "a tunnel with a body": f"CONNECT {PLACE} HTTP/1.1\r\nHost: {PLACE}\r\nContent-Length: 3\r\n\r\nabc",
    "a tunnel without a port": "CONNECT site.example HTTP/1.1\r\nHost: site.example\r\n\r\n",
    "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("request_", SMUGGLED.values(), ids=SMUGGLED)
def test_a_request_that_two_readers_could_read_differently_goes_nowhere(
    cell: Cell, outside: Outside, request_: str
) -> None:
    """No smuggling: it is refused by whoever reads it first, and the refusal is on record."""
    answer = cell.ask(request_.replace("PORT", str(outside.port)).encode("latin-1"))

    assert status(answer) in {400, 501}
    assert outside.heard == []
    (decision,) = cell.proxy.traffic().decisions
    assert not decision.allowed
    assert decision.why
    assert decision.address == ""


def test_a_server_that_is_not_there_is_told_of(cell: Cell, open_cell: Open) -> None:
    """Allowed, tried, and not had: the answer and the record say so."""
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        port = closed.getsockname()[1]
        cell = open_cell(f"{LOOPBACK}:{port}")

        answer = cell.get(f"http://{LOOPBACK}:{port}/")

    assert status(answer) == 502
    (decision,) = cell.proxy.traffic().decisions
    assert (decision.allowed, decision.address) == (True, LOOPBACK)
    assert decision.why == f"{LOOPBACK}:{port} cannot be reached: Connection refused"


def test_a_name_that_nobody_knows_is_told_of(open_cell: Open) -> None:
    """It is no refusal: an entry covers it."""
    cell = open_cell("*.example:80")

    answer = cell.get("http://nobody.example/")

    assert status(answer) == 502
    assert b"nobody.example has no address" in answer


@pytest.mark.parametrize(("path", "code", "why"), [("/rubbish", 502, "no HTTP"), ("/cut", 200, "no HTTP")])
def test_a_server_that_breaks_off_is_told_of(cell: Cell, outside: Outside, path: str, code: int, why: str) -> None:
    """Where the answer had begun, its end is missing: the client's own reader finds that out."""
    answer = cell.get(f"http://site.example:{outside.port}{path}")

    assert status(answer) == code
    assert why in cell.proxy.traffic().decisions[0].why


def test_a_client_that_says_nothing_is_no_request(cell: Cell) -> None:
    """Programs probe whether somebody listens."""
    with cell.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert hear_all(client) == b""

    assert cell.proxy.traffic().decisions == ()

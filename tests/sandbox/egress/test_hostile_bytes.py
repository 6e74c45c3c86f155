"""Whatever bytes a cell sends, the proxy answers or hangs up; and what it passes on, it has understood."""

from __future__ import annotations

import socket

import h11
from hypothesis import given
from hypothesis import strategies as st

from isolation.clock import SystemClock
from isolation.model.endpoint import canonical_host
from isolation.sandbox.egress.allow import AllowList
from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.dial import Dialler
from isolation.sandbox.egress.exchange import Exchange
from isolation.sandbox.egress.log import Log
from isolation.sandbox.egress.sockets import Sockets
from isolation.sandbox.egress.target import BadRequestError, outgoing, read_target
from tests.sandbox.egress.conftest import Names, hear_all

CLOCK = SystemClock()
METHOD = st.sampled_from(["GET", "POST", "HEAD", "CONNECT", "OPTIONS", "TRACE", "get", "X"])
HOST = st.sampled_from(
    ["a.example", "A.example.", "10.0.0.1", "[::1]", "127.1", "a b", "a@b", "", "*", "é", "[::1", "a_b"]
)
PORT = st.sampled_from(["", ":80", ":443", ":", ":0", ":99999", ":-1", ":80:80"])
PLACE = st.just("a.example") | st.builds("{}{}".format, HOST, PORT)
SCHEME = st.sampled_from(["http://", "HTTP://", "https://", "//", "", "http:", "ftp://", "http:///"])
PATH = st.sampled_from(["", "/", "/a?b", "?q", "#f", "/a#f", "//evil.example/", "/\\", "/%0d%0a", "/../x"])
HEADER = st.sampled_from(
    ["Connection: close", "Connection: host, x", "Connection: content-length, upgrade", "Content-Length: 3",
     "Content-Length: 0", "Content-Length: 3, 3", "Content-Length: 3, 4", "Content-Length: -1", "X: y", "TE: trailers",
     "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Expect: 100-continue", "Upgrade: h2c",
     "Proxy-Authorization: x", "Host: evil.example", " Host: evil.example", "Host : evil.example", ": x", "", "x"]
)  # fmt: skip
VERSION = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", ""])
ENDING = st.sampled_from(["\n", "\r\n ", "\r"])
BODY = st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"GET http://a.example/ HTTP/1.1\r\n\r\n"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make something that looks like a request, as one who means harm would write it; a good part of them is right."""
    place = draw(PLACE)
    method = draw(METHOD)
    right = place if method == "CONNECT" else f"http://{place}{draw(PATH)}"
    target = draw(st.just(right) | st.builds("{}{}{}".format, SCHEME, PLACE, PATH))
    lines = [f"{method} {target} {draw(st.just('HTTP/1.1') | VERSION)}"]
    lines += draw(st.sampled_from([[f"Host: {place}"], [f"Host: {place}"], []]))
    lines += draw(st.lists(HEADER, max_size=draw(st.sampled_from([0, 1, 4]))))
    ending = draw(st.sampled_from(["\r\n"] * 3) | ENDING)
    return (ending.join(lines) + ending * 2).encode("latin-1", "replace") + draw(BODY)


def heard(content: bytes) -> h11.Request | None:
    """Read a head as the proxy does; None for what is refused there."""
    said = h11.Connection(h11.SERVER)
    said.receive_data(content)
    try:
        event = said.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


@given(requests())
def test_what_is_passed_on_says_one_thing_alone(content: bytes) -> None:
    """One Host, that of the target, and one length; a stranger's reader could not find another in it."""
    request = heard(content)
    if request is None:
        return
    try:
        target = read_target(request)
    except BadRequestError:
        return
    assert canonical_host(f"[{target.host}]" if ":" in target.host else target.host) == target.host
    assert 1 <= target.port <= 65535
    if target.via == "connect":
        return

    passed = h11.Connection(h11.CLIENT).send(
        h11.Request(method=request.method, target=target.path, headers=outgoing(request, target))
    )

    assert passed is not None
    lines = passed.split(b"\r\n")
    names = [line.partition(b":")[0].lower() for line in lines[1:-2]]
    assert lines[1] == b"Host: " + target.host_header
    assert target.path.startswith(b"/")
    assert (names.count(b"host"), names.count(b"connection")) == (1, 1)
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not {*names} & {b"upgrade", b"te", b"expect", b"proxy-authorization"}


@given(requests() | st.binary(max_size=300))
def test_every_byte_that_a_cell_sends_has_an_answer_or_none(content: bytes) -> None:
    """Never an exception of ours, and nothing is let through that no entry names."""
    near, client = socket.socketpair()
    log, bounds = Log(CLOCK), Bounds()
    dialler = Dialler(AllowList([]), Names(), Sockets(), clock=CLOCK, bounds=bounds)
    with near, client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)

        Exchange(near, dialler, log, tcp=frozenset(), clock=CLOCK, bounds=bounds).serve()
        near.close()

        answer = hear_all(client)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501 "))
    assert [decision for decision in log.traffic().decisions if decision.allowed] == []
    assert bool(answer) == bool(log.traffic().decisions)

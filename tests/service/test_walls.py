"""What stands before every route."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from isolation.errors import SettingsError
from isolation.model.access import Role
from isolation.service.live import sockets
from isolation.service.refusals import TooLargeError, TooSlowError
from isolation.service.serve import Place, _check_tls
from isolation.service.walls import LARGEST_BODY_BYTES, Walls

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient
    from starlette.types import Message, Receive, Scope, Send

LONG = "x" * (LARGEST_BODY_BYTES + 1)


async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Read a body, and forget it."""
    while (await receive()).get("more_body"):
        pass


def through(walls: Walls, *pieces: bytes, then: float = 0, path: str = "/") -> None:
    """Send a body in pieces, the last of which comes after some seconds."""
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False

    async def receive() -> Message:
        if len(messages) == 1:
            await asyncio.sleep(then)
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope: dict[str, Any] = {"type": "http", "path": path}
    asyncio.run(walls(scope, receive, send))


def test_a_body_that_is_too_large_is_not_read_on() -> None:
    """It is counted as it comes: no header is believed."""
    through(Walls(read_all, largest_bytes=10), b"12345", b"67890")
    with pytest.raises(TooLargeError, match="larger than 10 B"):
        through(Walls(read_all, largest_bytes=10), b"12345", b"678901")


def test_a_blob_may_be_larger_and_what_is_shown_at_the_door_has_to_be_short() -> None:
    """The one is never in memory whole, the other may come from anybody."""
    through(Walls(read_all, largest_bytes=10), b"x" * 11, path="/v1/blobs/0")
    with pytest.raises(TooLargeError, match="larger than 64 MiB"):
        through(Walls(read_all), *[b"x" * 2**24] * 4, b"x", path="/v1/blobs/0")
    with pytest.raises(TooLargeError, match="larger than 4 KiB"):
        through(Walls(read_all), b"x" * 4097, path="/login")


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """However slowly its sender sends, all of it has one time."""
    with pytest.raises(TooSlowError, match=r"not there after 0\.01 s"):
        through(Walls(read_all, body_s=0.01), b"1", b"2", then=60)


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("PUT", "/v1/context/entry?key=a", {"json": {"value": LONG}}),
        ("POST", "/v1/runs", {"json": {"recipe": LONG}}),
        ("PUT", "/v1/context/text?key=a", {"content": LONG}),
        ("POST", "/login", {"data": {"token": LONG}}),
    ],
)
def test_whoever_reads_the_body_the_answer_is_the_same(
    client: TestClient, method: str, path: str, sent: dict[str, Any]
) -> None:
    """The framework, or a route by itself."""
    answer = client.request(method, path, **sent)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert client.get("/v1/context/history").json()["entries"] == []


def test_answers_say_how_they_may_be_used(client: TestClient) -> None:
    """Also those of errors."""
    for path in ("/version", "/nowhere"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"


def test_a_route_that_is_not_there_is_a_problem_too(client: TestClient) -> None:
    """Programs find the same fields everywhere."""
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "no_such_route"
    assert client.post("/version").json()["code"] == "no_such_method"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    """Nobody else hears what is said there."""
    Place(host=host, anonymous=Role.RUNNER).check()
    with pytest.raises(SettingsError, match="through a proxy"):
        Place(host=host, anonymous=Role.RUNNER, proxy="127.0.0.1").check()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104 - refused is what it is
def test_elsewhere_tls_is_needed_unless_told_otherwise(host: str, tmp_path: Path) -> None:
    """A token that goes in the clear is everybody's."""
    with pytest.raises(SettingsError, match="readable on the way"):
        Place(host=host).check()
    Place(host=host, exposed=True).check()
    Place(host=host, proxy="127.0.0.1").check()
    Place(host=host, certificate=tmp_path, key=tmp_path).check()
    with pytest.raises(SettingsError, match="without a token nobody comes in"):
        Place(host=host, exposed=True, anonymous=Role.VIEWER).check()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Place(port=65_536), "the port 65536 cannot be one"),
        (Place(host="127.0.0.1:80"), "the host '127.0.0.1:80' is no address"),
        (Place(proxy="*"), r"the proxy '\*' is no address"),
        (Place(proxy="proxy.example.org"), "the proxy 'proxy.example.org' is no address"),
        (Place(proxy="10.0.0.1/8"), "the proxy '10.0.0.1/8' is no address"),
    ],
)
def test_what_is_no_place_is_said(place: Place, said: str) -> None:
    """A proxy that is no address would be believed by nobody, or everybody would be one."""
    with pytest.raises(SettingsError, match=said) as refused:
        place.check()
    assert refused.value.hint
    Place(host="::1", port=65_535, proxy="10.0.0.0/8").check()


def test_tls_that_cannot_be_is_said(tmp_path: Path) -> None:
    """Before anything is opened: which file it is, that they do not belong together, that nobody gives a password."""
    one, other = (trustme.CA().issue_cert("localhost") for _ in range(2))
    chain, key, foreign, locked = (tmp_path / name for name in ("chain", "key", "foreign", "locked"))
    one.cert_chain_pems[0].write_to_path(chain)
    one.private_key_pem.write_to_path(key)
    other.private_key_pem.write_to_path(foreign)
    own = load_pem_private_key(one.private_key_pem.bytes(), None)
    encrypted = BestAvailableEncryption(b"a password")
    locked.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encrypted))

    _check_tls(chain, key)
    for certificate, its_key, said in (
        (chain, tmp_path / "none", "none cannot be read: no such file"),
        (tmp_path, key, "cannot be read: is a directory"),
        (chain, foreign, "no PEM files, or not of one another"),
        (key, key, "no PEM files, or not of one another"),
        (chain, locked, "has a password, and nobody is there to give it"),
    ):
        with pytest.raises(SettingsError, match=said) as refused:
            _check_tls(certificate, its_key)
        assert refused.value.hint


def test_a_websocket_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What sends to it is told so, and can end."""
    monkeypatch.setattr(sockets, "SEND_S", 0.01)

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "text": "a"})

    async def receive() -> Message:
        raise AssertionError

    async def stuck(_message: Message) -> None:
        await asyncio.Event().wait()

    async def serve() -> None:
        await sockets.bounded(app)({"type": "websocket"}, receive, stuck)

    with pytest.raises(TimeoutError):
        asyncio.run(serve())

"""Live changes over socket.io, against a real server process and with the field's own client."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import socketio
import websocket

from isolation.wiring import open_stores
from tests.service.listening import Listener
from tests.service.server import Server
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow
AT = "2025-01-01T00:00:00.000Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("sockets"), "--slots", "0") as server:
        yield server


@pytest.fixture
def listen(server: Server) -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(**auth: object) -> Listener:
        made.append(Listener(server, **auth))
        return made[-1]

    yield make
    for one in made:
        one.leave()


def change(server: Server, values: dict[str, object] | None = None, *deleted: str, namespace: str = "default") -> int:
    """Write and delete several keys; returns the version after it."""
    with server.client() as client:
        answer = client.post(
            "/v1/context/changes",
            params={"namespace": namespace},
            json={"set": values or {}, "delete": [*deleted], "who": "ann"},
        )
    assert answer.status_code == 200, answer.text
    version: int = answer.json()["version"]
    return version


def test_who_subscribes_hears_just_that_in_order(server: Server, listen: Callable[..., Listener]) -> None:
    """Each change once, with what it replaced; by Framework0's name, too."""
    change(server, {"deployment.id": 0})
    listener, other = listen(), listen()
    listener.subscribe("deployment.*", "config.?")
    other.subscribe("none.*")
    for number in range(1, 51):
        change(server, {"deployment.id": number, "config.long": number, "config.x": number})
    last = change(server, {}, "deployment.id")
    until(lambda: listener.of("context_changed")[-1:] != [] and listener.of("context_changed")[-1]["version"] == last)

    heard = [one for one in listener.of("context_changed") if one["key"] == "deployment.id"]
    assert [(one["old_value"], one["new_value"]) for one in heard] == [
        *((number - 1, number) for number in range(1, 51)),
        (50, None),
    ]
    assert {one["key"] for one in listener.of("context_changed")} == {"deployment.id", "config.x"}
    assert {one["who"] for one in heard} == {"ann"}
    assert heard[-1]["deleted"]
    until(lambda: listener.of("context_updated") == listener.of("context_changed"))
    assert other.of("context_changed") == []


def test_who_subscribes_is_told_what_there_is(server: Server, listen: Callable[..., Listener]) -> None:
    """Of what they asked for, at a version, after which every change is told."""
    change(server, {"snap.a": 1, "snap.b": [2], "other": 3})
    listener = listen(keys=["snap.*"])
    until(lambda: listener.of("context_snapshot") != [])
    (snapshot,) = listener.of("context_snapshot")
    assert snapshot["values"] == {"snap.a": 1, "snap.b": [2]}


def has(heard: list[tuple[str, Any]], count: int) -> bool:
    """Tell whether there are more than so many."""
    return len(heard) > count


def test_what_there_is_comes_before_what_changes(server: Server, listen: Callable[..., Listener]) -> None:
    """However fast somebody writes meanwhile: the first change is the one after the snapshot, and none is left out."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            change(server, {"race.key": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            listener = listen()
            listener.subscribe("race.*")
            until(partial(has, listener.heard, 20))
            listener.leave()
            (first, snapshot), *rest = [one for one in listener.heard if one[0] != "context_updated"]
            assert first == "context_snapshot"
            values = [data["new_value"] for _, data in rest]
            assert rest[0][1]["version"] > snapshot["version"]
            assert values == [*range(values[0], values[0] + len(values))]
            assert rest[0][1]["old_value"] == snapshot["values"].get("race.key")
    finally:
        stop.set()
        writer.join()


def test_who_comes_back_misses_nothing(server: Server, listen: Callable[..., Listener]) -> None:
    """From the version that was seen last, in order, and none twice."""
    first = listen()
    since = first.subscribe("back.*")["version"]
    first.leave()
    for number in range(1200):
        if number % 300 == 0:
            change(server, {f"back.{number + one}": one for one in range(300)})
    again = listen()
    again.subscribe("back.*", since=since)
    change(server, {"back.end": 1})
    until(lambda: any(one["key"] == "back.end" for one in again.of("context_changed")))
    versions = [one["version"] for one in again.of("context_changed")]
    assert versions == sorted({*versions})
    assert len(versions) == 1201
    assert again.of("context_snapshot") == []


def test_what_another_process_writes_is_told_too(server: Server, listen: Callable[..., Listener]) -> None:
    """A worker that merges, or somebody at the command line."""
    from isolation.settings import Settings  # noqa: PLC0415

    listener = listen()
    listener.subscribe("elsewhere")
    with open_stores(Settings(state=server.state)) as stores:
        stores.contexts.set("elsewhere", "by another", "bob", AT, "run-1")
    until(lambda: listener.of("context_changed") != [])
    (heard,) = listener.of("context_changed")
    assert (heard["new_value"], heard["who"], heard["run_id"], heard["timestamp"]) == ("by another", "bob", "run-1", AT)


def test_another_namespace_is_not_heard(server: Server, listen: Callable[..., Listener]) -> None:
    """Neither its changes nor its dumps."""
    ours, theirs = listen(), listen(namespace="theirs")
    ours.subscribe("*")
    theirs.subscribe("*")
    change(server, {"secret": 1}, namespace="theirs")
    with server.client() as client:
        client.post("/v1/context/dumps", params={"namespace": "theirs"}, json={"filename": "theirs"})
    until(lambda: theirs.of("context_dump_complete") != [] and theirs.of("context_changed") != [])
    change(server, {"end": 1})
    until(lambda: any(one["key"] == "end" for one in ours.of("context_changed")))
    assert "secret" not in {one["key"] for one in ours.of("context_changed")}
    assert ours.of("context_dump_complete") == []
    (dump,) = theirs.of("context_dump_complete")
    assert dump["filename"] == "theirs.json"
    assert dump["file_size"] > 0
    assert theirs.of("context_dumped") == [dump]


@pytest.mark.parametrize(
    "auth", [{"token": "iso_wrong"}, {"token": None}, {"namespace": "NO"}, {"keys": "all"}, {"token": 1}]
)
def test_who_may_not_does_not_connect(server: Server, auth: dict[str, object]) -> None:
    """And is told why."""
    with pytest.raises(socketio.exceptions.ConnectionError):
        Listener(server, **auth)


def test_a_token_of_another_namespace_does_not_connect(server: Server) -> None:
    """The namespace that somebody asks for has to be theirs."""
    with server.client() as client:
        token = client.post("/v1/tokens", json={"name": "eve", "namespaces": ["theirs"]}).json()["token"]
    with pytest.raises(socketio.exceptions.ConnectionError):
        Listener(server, token=token, namespace="default")


def test_a_connection_ends_with_its_token(server: Server, listen: Callable[..., Listener]) -> None:
    """Revoked, it hears nothing more."""
    with server.client() as client:
        made = client.post("/v1/tokens", json={"name": "ann", "namespaces": ["default"]}).json()
        listener = listen(token=made["token"])
        listener.subscribe("*")
        client.delete(f"/v1/tokens/{made['token_id']}")
        assert listener.lost.wait(30)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"keys": "a"}, "'keys' of the message must be a list"),
        ({"keys": [""]}, "'keys.0' of the message must have at least 1 character"),
        ({"since": -1}, "'since' of the message must be greater than or equal to 0"),
        ({"key": ["a"]}, "'key' of the message is unknown"),
        (["a"], "the message must be an object"),
    ],
)
def test_a_subscription_that_cannot_be_is_answered(listen: Callable[..., Listener], wanted: object, said: str) -> None:
    """With a sentence, and the connection stays."""
    listener = listen()
    answer = listener.ask("subscribe", wanted)
    assert (answer["code"], answer["detail"]) == ("input", said)
    answer = listener.ask("subscrib", wanted)
    assert (answer["detail"], answer["hint"]) == ("there is no event 'subscrib'", "Send subscribe or unsubscribe.")
    assert "version" in listener.subscribe("a")


def test_a_page_from_elsewhere_does_not_connect(server: Server) -> None:
    """A browser says where its page is from, and would send its cookie along."""
    path = f"{server.url}/socket.io/?EIO=4&transport=polling"
    assert httpx2.get(path, headers={"Origin": "http://evil.example"}).status_code == 400
    assert httpx2.get(path, headers={"Origin": server.url}).status_code == 200


def test_nobody_waits_for_who_takes_nothing(server: Server, listen: Callable[..., Listener]) -> None:
    """The others are told of all meanwhile; and who goes on then is told of all that they missed, in order."""
    mute = websocket.create_connection(f"ws{server.url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket")
    mute.settimeout(30)
    assert str(mute.recv()).startswith("0{")
    mute.send("40" + json.dumps({"token": server.token}))
    assert str(mute.recv()).startswith("40{")
    mute.send('42["subscribe",{"keys":["flood.*"]}]')
    assert "context_snapshot" in str(mute.recv())
    listener = listen()
    listener.subscribe("flood.*")

    last = 0
    for number in range(10):  # far more than the kernel and the server keep for one who does not read
        last = change(server, {f"flood.{number}.{one}": "x" * 20_000 for one in range(100)})
    until(lambda: len(listener.of("context_changed")) == 1000)

    versions: list[int] = []
    while versions[-1:] != [last]:
        text = str(mute.recv())
        if text == "2":
            mute.send("3")
        elif text.startswith('42["context_changed"'):
            versions.append(json.loads(text[2:])[1]["version"])
    mute.close()
    assert versions == [one["version"] for one in listener.of("context_changed")]

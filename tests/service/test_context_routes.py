"""The context over HTTP: what the store promises, and what the contract says, for whoever asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.contract import MAX_VALUE_BYTES
from isolation.model.access import Role
from tests.service.conftest import BOTH_WAYS

if TYPE_CHECKING:
    from httpx2 import Client

    from isolation.service.service import Service
    from tests.service.conftest import ClientFor

pytestmark = BOTH_WAYS


def put(client: Client, key: str, value: object, **more: object) -> dict[str, object]:
    """Write a value, and return its entry."""
    answer = client.put("/v1/context/entry", params={"key": key}, json={"value": value, **more})
    assert answer.status_code == 200, answer.text
    entry: dict[str, object] = answer.json()
    return entry


@pytest.mark.parametrize("value", [None, True, -1.5, "tëxt\n", [1, [2]], {"a": {"b": None}}])
def test_a_value_comes_back_as_it_was(client: Client, value: object) -> None:
    """Whatever JSON it is."""
    written = put(client, "sales.eu/total?&=ä", value, who="ann")
    read = client.get("/v1/context/entry", params={"key": "sales.eu/total?&=ä"}).json()
    assert read == written
    assert (read["value"], read["who"], read["version"]) == (value, "ann", 1)


def test_who_says_no_name_is_known_by_the_token(client: Client) -> None:
    """A history has somebody's name in every line."""
    assert put(client, "a", 1)["who"] == "a operator"


def test_a_write_may_ask_for_a_version(client: Client) -> None:
    """Compare and set: of two that saw the same, one wins, and the other is told."""
    put(client, "a", 1, if_version=0)
    late = client.put("/v1/context/entry", params={"key": "a"}, json={"value": 2, "if_version": 0})
    assert (late.status_code, late.json()["code"]) == (409, "context_changed")
    put(client, "a", 3, if_version=1)
    assert client.delete("/v1/context/entry", params={"key": "a", "if_version": 1}).status_code == 409
    assert client.delete("/v1/context/entry", params={"key": "a", "if_version": 2}).json()["deleted"]
    assert client.get("/v1/context/entry", params={"key": "a"}).status_code == 404
    assert client.get("/v1/context/entry", params={"key": "a", "version": 2}).json()["value"] == 3


def test_changes_are_written_all_or_none(client: Client) -> None:
    """One that cannot be is the end of all of them."""
    put(client, "old", 1)
    wanted = {"set": {"a": 1, "b": 2}, "delete": ["old"], "expected": {"a": 7}, "who": "ann"}
    assert client.post("/v1/context/changes", json=wanted).status_code == 409
    assert client.post("/v1/context/changes", json={**wanted, "expected": {}, "delete": ["none"]}).status_code == 404
    assert [entry["key"] for entry in client.get("/v1/context").json()["entries"]] == ["old"]

    done = client.post("/v1/context/changes", json={**wanted, "expected": {"a": 0}}).json()
    assert done["version"] == 4
    written = [(entry["key"], entry["deleted"]) for entry in done["entries"]]
    assert written == [("a", False), ("b", False), ("old", True)]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "there is nothing to change"),
        ({"set": {"a": 1}, "delete": ["a"]}, "both set and deleted"),
        ({"set": {"": 1}}, "a context key is empty"),
        ({"set": {"a\n": 1}}, "cannot be printed"),
        ({"set": {"a": "x" * MAX_VALUE_BYTES}}, "bytes"),
        ({"sets": {"a": 1}}, "sets"),
    ],
)
def test_what_cannot_be_written_is_refused(client: Client, wanted: dict[str, object], said: str) -> None:
    """With a sentence that says why, and nothing written."""
    answer = client.post("/v1/context/changes", json=wanted)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert client.get("/v1/context/history").json()["entries"] == []


@pytest.mark.parametrize("body", [b"", b"{", b'{"value": NaN}', b"\xff", b'{"value": 1' + b"0" * 400 + b"}"])
def test_a_body_that_is_no_json_is_refused(client: Client, body: bytes) -> None:
    """As any other that cannot be used."""
    headers = {"Content-Type": "application/json"}
    answer = client.put("/v1/context/entry", params={"key": "a"}, content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_lists_and_histories_come_in_pages(client: Client) -> None:
    """Each page says where the next one begins; the last one that there is none."""
    client.post("/v1/context/changes", json={"set": {f"k.{number}": number for number in range(5)} | {"other": 1}})
    found, after = [], None
    while True:
        params = {"glob": "k.*", "limit": "2"} | ({"after": after} if after else {})
        page = client.get("/v1/context", params=params).json()
        found += [entry["key"] for entry in page["entries"]]
        after = page["next"]
        if after is None:
            break
    assert found == [f"k.{number}" for number in range(5)]

    first = client.get("/v1/context/history", params={"limit": 4}).json()
    rest = client.get("/v1/context/history", params={"limit": 4, "before": first["next"]}).json()
    assert [entry["version"] for entry in first["entries"] + rest["entries"]] == [6, 5, 4, 3, 2, 1]
    assert rest["next"] is None


def test_a_history_is_filtered(client: Client) -> None:
    """By who, and by when."""
    put(client, "a", 1, who="ann")
    put(client, "a", 2, who="bob")
    seen = client.get("/v1/context/history", params={"glob": "a", "who": "ann"}).json()["entries"]
    assert [entry["value"] for entry in seen] == [1]
    since = client.get("/v1/context/history", params={"since": "2999-01-01T00:00:00.000Z"}).json()
    assert since["entries"] == []
    assert client.get("/v1/context/history", params={"since": "yesterday"}).status_code == 422


def test_namespaces_never_meet(client_for: ClientFor) -> None:
    """The same key in two of them is two keys."""
    ours, theirs = client_for(Role.RUNNER, "ours"), client_for(Role.RUNNER, "theirs")
    put(ours, "a", "ours")
    put(theirs, "a", "theirs")
    assert ours.get("/v1/context/entry", params={"key": "a"}).json()["value"] == "ours"
    assert [entry["value"] for entry in theirs.get("/v1/context/history").json()["entries"]] == ["theirs"]


def test_many_writers_at_once_lose_nothing(service: Service, client_for: ClientFor) -> None:
    """Their writes share transactions; each has a version of its own, and an answer that is true."""
    client = client_for(Role.RUNNER)
    client.get("/v1/me")

    def write(number: int) -> int:
        return int(str(put(client, f"own.{number % 8}", number)["version"]))

    with ThreadPoolExecutor(16) as pool:
        versions = [*pool.map(write, range(200))]
    assert sorted(versions) == [*range(1, 201)]
    assert {entry.value for entry in service.stores.contexts.history("own.*", 1000)} == {*range(200)}


def test_what_is_answered_is_durable(service: Service, client: Client) -> None:
    """Somebody else, who opens the same state folder, finds it."""
    from isolation.wiring import open_stores  # noqa: PLC0415

    put(client, "a", 1)
    with open_stores(service.settings) as other:
        entry = other.contexts.get("a")
        other.contexts.set("a", 2, "bob", "2025-01-01T00:00:00.000Z")
    assert entry is not None
    assert entry.value == 1
    assert client.get("/v1/context/entry", params={"key": "a"}).json()["value"] == 2
    assert SystemClock().now().isoformat()[:10] in entry.at

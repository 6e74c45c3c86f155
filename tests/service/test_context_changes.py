"""What whoever merges into the context over HTTP needs: writers by key, and a look at all of it that still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.service.conftest import BOTH_WAYS

if TYPE_CHECKING:
    from httpx2 import Client

pytestmark = BOTH_WAYS


def test_each_key_has_its_own_writer(client: Client) -> None:
    """Whom nobody names is who writes the rest."""
    body = {"set": {"a": 1, "b": 2}, "who": "a run", "writers": {"a": "a step", "c": "nobody"}}
    entries = client.post("/v1/context/changes", json=body).json()["entries"]

    assert [(one["key"], one["who"]) for one in entries] == [("a", "a step"), ("b", "a run")]


def test_changes_can_depend_on_nothing_else_having_been_written(client: Client) -> None:
    """Also under a key that nobody knew of when they looked."""
    version = client.post("/v1/context/changes", json={"set": {"a": 1}, "version": 0}).json()["version"]
    client.put("/v1/context/entry", params={"key": "new"}, json={"value": 1})

    refused = client.post("/v1/context/changes", json={"set": {"a": 2}, "version": version})
    assert (refused.status_code, refused.json()["code"]) == (409, "context_changed")
    assert client.get("/v1/context/entry", params={"key": "a"}).json()["value"] == 1
    assert client.post("/v1/context/changes", json={"set": {"a": 2}, "version": version + 1}).status_code == 200


def test_a_history_can_tell_what_each_write_replaced(client: Client) -> None:
    """What was nothing is told apart from null; nobody pays for it who does not ask."""
    for value in (None, 2):
        client.put("/v1/context/entry", params={"key": "a"}, json={"value": value})
    client.delete("/v1/context/entry", params={"key": "a"})

    told = client.get("/v1/context/history", params={"replaced": True}).json()["entries"]
    assert [(one["value"], one["existed"], one["before"]) for one in told] == [
        (None, True, 2),
        (2, True, None),
        (None, False, None),
    ]
    assert "before" not in client.get("/v1/context/history").json()["entries"][0]

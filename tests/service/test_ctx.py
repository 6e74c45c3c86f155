"""The context in Framework0's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.model.access import Role
from tests.service.conftest import BOTH_WAYS

if TYPE_CHECKING:
    from httpx2 import Client

    from tests.service.conftest import ClientFor

pytestmark = BOTH_WAYS


def put(client: Client, key: str, value: object, who: str) -> dict[str, object]:
    answer = client.post("/ctx", json={"key": key, "value": value, "who": who})
    assert answer.status_code == 200, answer.text
    told: dict[str, object] = answer.json()
    return told


def test_what_is_set_is_got_and_is_the_same_context(client: Client) -> None:
    """By either vocabulary."""
    told = put(client, "a.b", {"c": [1]}, "ann")
    assert (told["status"], told["value"], told["version"]) == ("ok", {"c": [1]}, 1)
    assert client.get("/ctx", params={"key": "a.b"}).json() == {"key": "a.b", "value": {"c": [1]}}
    assert client.get("/v1/context/entry", params={"key": "a.b"}).json()["who"] == "ann"
    assert client.get("/ctx/all").json() == {"context": {"a.b": {"c": [1]}}}


def test_a_history_tells_what_was_replaced(client: Client) -> None:
    """The oldest first; of one key or of globs, by one or by all."""
    put(client, "a", 1, "ann")
    put(client, "a", 2, "bob")
    put(client, "b", 3, "bob")
    client.delete("/v1/context/entry", params={"key": "a"})

    def seen(**params: str) -> list[tuple[object, ...]]:
        writes = client.get("/ctx/history", params=params).json()["history"]
        return [(one["key"], one["old_value"], one["new_value"]) for one in writes]

    assert seen(key="a") == [("a", None, 1), ("a", 1, 2), ("a", 2, None)]
    assert seen(who="bob") == [("a", 1, 2), ("b", None, 3)]
    assert seen(key="?", who="ann") == [("a", None, 1)]
    assert seen(limit="1") == [("a", 2, None)]


@pytest.mark.parametrize("name", ["format", "format_type"])
def test_a_dump_is_written_listed_and_fetched(client: Client, name: str) -> None:
    """Its format has two names."""
    put(client, "a", 1, "ann")
    told = client.post("/ctx/dump", json={name: "csv", "filename": "n", "include_history": True, "who": "cron"}).json()
    assert (told["filename"], told["format"], told["include_history"]) == ("n.csv", "csv", True)
    assert [one["filename"] for one in client.get("/ctx/dump/list").json()["dump_files"]] == ["n.csv"]
    answer = client.get("/ctx/dump/n.csv")
    assert len(answer.content) == told["file_size"]
    assert answer.headers["Content-Type"].startswith("text/csv")


def test_errors_are_ours(client: Client, client_for: ClientFor) -> None:
    """And so is who may."""
    assert client.get("/ctx", params={"key": "zz"}).json()["code"] == "no_such_key"
    assert client.post("/ctx", json={"key": "a\n", "value": 1}).status_code == 422
    assert client.post("/ctx", json={"key": "a"}).status_code == 422
    assert client.post("/ctx/dump", json={"filename": "../x"}).status_code == 422
    assert client.post("/ctx/dump", json={"format": "xml"}).status_code == 422
    assert client.get("/ctx/dump/none.json").status_code == 404
    viewer, nobody = client_for(Role.VIEWER), client_for(None)
    assert viewer.post("/ctx", json={"key": "a", "value": 1}).status_code == 403
    assert viewer.get("/ctx/all").status_code == 200
    assert nobody.get("/ctx/all").status_code == 401

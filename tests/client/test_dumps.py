"""Dumps, as the clients ask for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from isolation.errors import InputError, ServerError

if TYPE_CHECKING:
    from tests.client.answers import Answers
    from tests.client.conftest import AnyClient, MakeClient


@pytest.fixture
def client(make: MakeClient, answers: Answers) -> AnyClient:
    return make(url=answers.url, token="", namespace="mine")


def test_a_dump_is_asked_for_as_framework0_does(client: AnyClient, answers: Answers) -> None:
    """By either name of its format; what is left out is the server's to choose."""
    answers.given = [(200, "", '{"filename": "backup.json"}')] * 2

    told = client.dump_context(format="json", filename="backup", include_history=True, who="backup_service")
    client.dump_context(format_type="csv")
    assert told == {"filename": "backup.json"}
    assert answers.paths == ["/v1/context/dumps?namespace=mine"] * 2
    assert [json.loads(body) for body in answers.bodies] == [
        {"format": "json", "filename": "backup", "include_history": True, "who": "backup_service"},
        {"format": "csv", "include_history": False},
    ]


def test_the_newest_dump_can_be_fetched(client: AnyClient, answers: Answers) -> None:
    """Under the name that the list tells, whatever is in it."""
    answers.given = [(200, "", '{"dump_files": [{"filename": "a b.txt"}]}'), (200, "", "a = \u00e9")]

    name = client.list_dumps()["dump_files"][0]["filename"]
    assert client.download_dump(name) == "a = \u00e9"
    assert answers.paths == ["/v1/context/dumps?namespace=mine", "/v1/context/dumps/a%20b.txt?namespace=mine"]


def test_a_name_leads_nowhere_else(client: AnyClient, answers: Answers) -> None:
    """It is one part of the address, or none."""
    answers.given = [(404, "", '{"code": "x", "detail": "there is none", "hint": ""}')]

    with pytest.raises(ServerError, match="there is none"):
        client.download_dump("../entry?key=a#")
    for name in ("", ".", ".."):
        with pytest.raises(InputError, match="no dump's name"):
            client.download_dump(name)
    assert answers.paths == ["/v1/context/dumps/..%2Fentry%3Fkey%3Da%23?namespace=mine"]


def test_a_format_that_nobody_knows_is_refused(client: AnyClient, answers: Answers) -> None:
    """With those that there are."""
    with pytest.raises(InputError, match="no dump format 'xml'") as refused:
        client.dump_context("xml")
    assert (refused.value.hint, answers.asked) == ("Say one of json, pretty, csv, txt.", [])

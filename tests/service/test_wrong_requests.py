"""What a newcomer sends wrong is answered with what, why and what to do, in words of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.access import Role

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from tests.service.conftest import ClientFor, TokenFor

RECIPE = {
    "recipe": "steps: [{name: hello, module: hello, function: run}]\n",
    "files": {"hello.py": "def run(context, params):\n    pass\n"},
}
JSON = {"Content-Type": "application/json"}
AS_JSON = "Send JSON, with `Content-Type: application/json`."
CONTRACT = "The contract is at /openapi.json."


@pytest.mark.parametrize(
    ("wanted", "sent", "detail", "hint"),
    [
        ("POST /v1/runs", {"json": {**RECIPE, "polcy": "x"}}, "'polcy' of the body is unknown", "mean 'policy'?"),
        ("POST /v1/runs", {"json": {"zz": 1}}, "'zz' of the body is unknown", "Known: adjustments, context, "),
        (
            "POST /v1/runs/last/rerun",
            {"json": {"fresh_contex": 1}},
            "'fresh_contex' of the body is unknown",
            "'fresh_context'?",
        ),
        ("POST /v1/runs", {"json": []}, "the body must be an object", CONTRACT),
        ("POST /v1/runs", {"json": {**RECIPE, "recipe": 3}}, "'recipe' of the body must be text", CONTRACT),
        ("POST /v1/runs", {"json": {"recipe": ""}}, "'recipe' of the body must have at least 1 character", CONTRACT),
        ("POST /v1/runs", {"content": "{nope", "headers": JSON}, "the body is not JSON at character 1: ", AS_JSON),
        ("POST /v1/runs", {"headers": JSON}, "there is no body", AS_JSON),
        ("POST /v1/runs", {"data": {"a": "1"}}, "came as 'application/x-www-form-urlencoded', and not", AS_JSON),
        ("POST /v1/runs", {"content": "{}"}, "nobody said that the body is JSON", AS_JSON),
        ("PUT /v1/context/entry?key=a", {"json": {}}, "'value' of the body is missing", CONTRACT),
        ("GET /v1/context/entry", {}, "'key' of the query is missing", CONTRACT),
        ("GET /v1/runs?limit=many", {}, "'limit' of the query must be a whole number", CONTRACT),
        ("GET /v1/runs?limit=0", {}, "'limit' of the query must be greater than or equal to 1", CONTRACT),
        ("GET /v1/runs?state=going", {}, "'state' of the query must be 'queued', 'running', ", CONTRACT),
        ("GET /v1/runs?stat=queued", {}, "'stat' of the query is unknown", "Did you mean 'state'?"),
        ("GET /v1/runs?cursor=a&page=2", {}, "'cursor' of the query is unknown; 'page' of", "Known: before, limit, "),
        ("GET /v1/runs?namespace=A+B", {}, "'namespace' of the query cannot be 'A B'", "Write 1 to 64 small letters"),
        ("PUT /v1/blobs/zz", {"content": "a"}, "'digest' of the path cannot be 'zz'", "64 hexadecimal digits"),
    ],
)
def test_what_a_request_has_wrong_is_said(
    client: TestClient, wanted: str, sent: dict[str, Any], detail: str, hint: str
) -> None:
    """By the names that the contract has, and with the cure where there is one."""
    answer = client.request(*wanted.split(), **sent)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request"), problem
    assert detail in problem["detail"]
    assert hint in problem["hint"]


def test_what_is_not_there_is_said_with_what_is(client: TestClient) -> None:
    """A place as well as a method."""
    missing = client.get("/v1/rnus").json()
    assert (missing["detail"], missing["hint"]) == ("there is nothing at /v1/rnus", CONTRACT)
    method = client.delete("/v1/runs").json()
    assert (method["detail"], method["hint"]) == ("nothing at /v1/runs takes DELETE", "It takes GET, POST.")


@pytest.mark.parametrize(
    ("role", "namespaces", "wanted", "hint"),
    [
        (Role.VIEWER, ("default",), "POST /v1/runs/last/cancel", "It is a viewer's; this takes a runner's."),
        (Role.AUTHOR, ("default",), "GET /v1/audit", "It is an author's; this takes an operator's."),
        (Role.OPERATOR, ("team-*",), "GET /v1/runs", "It counts in team-*; say where with ?namespace=."),
    ],
)
def test_who_may_not_is_told_who_may(
    client_for: ClientFor, role: Role, namespaces: tuple[str, ...], wanted: str, hint: str
) -> None:
    """The least role that does, or the namespaces where the token counts."""
    answer = client_for(role, *namespaces).request(*wanted.split())
    assert (answer.status_code, answer.json()["hint"]) == (403, hint)


def test_a_token_that_ended_is_not_taken_for_none(client_for: ClientFor, token_for: TokenFor) -> None:
    """Else whoever sent one looks for what they forgot; which reason it is, nobody is told."""
    nobody = client_for(None)
    assert nobody.get("/v1/me").json()["detail"] == "no token that counts came with this"
    ended = token_for(Role.VIEWER, "default", expires_at="2025-01-01T00:00:01.000Z")
    for shown in (ended, "iso_wrong"):
        told = nobody.get("/v1/me", headers={"Authorization": f"Bearer {shown}"}).json()
        assert told["detail"] == "no token that counts came with this: it is unknown, revoked or expired"


def test_nobody_is_told_of_parameters_before_they_are_let_in(client_for: ClientFor) -> None:
    """The door comes first, whatever else is wrong."""
    assert client_for(None).get("/v1/runs?stat=queued").status_code == 401


def test_the_contract_is_made_once(application: FastAPI) -> None:
    """Every request asks it which parameters there are."""
    first, again = (application.openapi()["components"]["schemas"]["Problem"] for _ in range(2))
    assert first is again

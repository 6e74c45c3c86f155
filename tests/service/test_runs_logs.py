"""Logs over HTTP: page by page, and as events from wherever somebody stopped reading."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.access import Role
from tests.service.sending import end, write_log

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from isolation.service.service import Service
    from tests.conftest import ResultOf
    from tests.service.conftest import ClientFor

LIVE = "/v1/runs/r1/logs/live"
LOG = {1: ["one", "two"], 2: ["three"], 4: ["four", "<b>fünf</b>\x1b[31m\r\nevent: end"]}
TEXTS = ["one", "two", "three", "four", "<b>fünf</b>\x1b[31m\r", "event: end"]


def events(text: str) -> list[dict[str, Any]]:
    """Read server-sent events, as HTML's standard has them."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


@pytest.fixture
def run(service: Service, result_of: ResultOf) -> str:
    end(service, result_of, "r1", log=LOG)
    return "/v1/runs/r1/logs"


@pytest.mark.parametrize("limit", [1, 2, 4, 1000])
def test_a_log_comes_in_pages_over_all_attempts(client: TestClient, run: str, limit: int) -> None:
    """Each says where the next one begins, and whether there is one."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": None, "more": True}
    while page["more"]:
        page = client.get(run, params={"limit": limit} | ({"cursor": page["next"]} if page["next"] else {})).json()
        found += page["lines"]
    assert [line["text"] for line in found] == TEXTS
    assert [line["attempt"] for line in found] == [1, 1, 2, 4, 4, 4]
    assert client.get(run, params={"cursor": page["next"]}).json() == {"lines": [], "next": page["next"], "more": False}


def test_a_log_is_filtered(client: TestClient, run: str) -> None:
    """By attempt, and by step."""
    lines = client.get(run, params={"attempt": 2}).json()["lines"]
    assert [line["text"] for line in lines] == ["three"]
    assert client.get(run, params={"step": "other"}).json()["lines"] == []
    assert client.get(run, params={"attempt": 3}).json()["lines"] == []


@pytest.mark.parametrize(
    "cursor", ["1.3", "4.999999", "x", "1", "0.0", "-1.0", "1.-1", "../1.0", "\u0661.0", "1.99999999999999"]
)
def test_a_place_that_is_none_is_refused(client: TestClient, run: str, cursor: str) -> None:
    """In the middle of a line, beyond the end, or no place at all."""
    assert client.get(run, params={"cursor": cursor}).status_code == 422
    if cursor.isascii():
        answer = client.get(LIVE, headers={"Last-Event-ID": cursor})
        assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")


@pytest.mark.usefixtures("run")
def test_events_tell_all_of_a_log_and_its_end(client: TestClient) -> None:
    """What a recipe wrote can be no event of its own: it is JSON, on one line."""
    answer = client.get(LIVE)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    *lines, last = events(answer.text)
    assert [line["event"] for line in lines] == ["line"] * len(TEXTS)
    assert [line["data"]["text"] for line in lines] == TEXTS
    assert (last["event"], last["data"]) == ("end", {"run_id": "r1", "state": "finished", "outcome": "succeeded"})


@pytest.mark.usefixtures("run")
def test_events_go_on_after_the_last_that_was_seen(client: TestClient) -> None:
    """From each of them on, over all attempts that follow."""
    everything = events(client.get(LIVE).text)
    for number, seen in enumerate(everything[:-1], 1):
        rest = events(client.get(LIVE, headers={"Last-Event-ID": seen["id"]}).text)
        assert rest == everything[number:]
    assert [one["event"] for one in events(client.get(LIVE, headers={"Last-Event-ID": everything[-1]["id"]}).text)] == [
        "end"
    ]


def test_events_stop_where_the_token_counts_no_more(
    service: Service, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who listens is no better than who asks again."""
    from tests.service.sending import submitted  # noqa: PLC0415

    run_id = submitted(client_for(Role.AUTHOR))  # it waits, and so would the listener
    write_log(service, run_id, {1: ["one"]})
    viewer = client_for(Role.VIEWER)
    newest = max(service.tokens.list(), key=lambda token: token.role == Role.VIEWER)

    from isolation.service.routes import logs  # noqa: PLC0415

    look = logs._look

    def revoking(*given: Any) -> Any:  # noqa: ANN401 - as what it stands for
        service.tokens.revoke(newest.token_id, "2025-01-01T00:00:00.000Z")
        service.door.forget()
        return look(*given)

    monkeypatch.setattr(logs, "_look", revoking)
    answer = viewer.get(f"/v1/runs/{run_id}/logs/live")
    assert answer.status_code == 200
    assert "end" not in {one["event"] for one in events(answer.text)}

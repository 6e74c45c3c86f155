"""Runs looked at over HTTP, ended, made again and compared; and that those of others are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.model.access import Role
from isolation.model.document import to_document
from isolation.order import recorded
from tests.service.sending import end, send, submitted

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from isolation.service.service import Service
    from tests.conftest import ResultOf
    from tests.service.conftest import ClientFor


def test_runs_come_in_pages_and_filtered(service: Service, client: TestClient, result_of: ResultOf) -> None:
    """The last submitted first; the last page says that there is no other."""
    ids = [submitted(client) for _ in range(3)]
    end(service, result_of, "ended")
    first = client.get("/v1/runs", params={"limit": 2}).json()
    rest = client.get("/v1/runs", params={"limit": 3, "before": first["next"]}).json()
    assert [run["run_id"] for run in first["runs"] + rest["runs"]] == ["ended", *reversed(ids)][:4]
    assert rest["next"] is None

    def only(**how: str) -> list[str]:
        return [run["run_id"] for run in client.get("/v1/runs", params=how).json()["runs"]]

    assert only(state="finished") == only(outcome="succeeded") == ["ended"]
    assert only(recipe="work") == ids[::-1]
    assert only(recipe="none") == []
    assert client.get("/v1/runs", params={"outcome": "good"}).status_code == 422
    assert client.get("/v1/runs", params={"before": "none"}).status_code == 404


def test_a_run_is_found_as_on_the_command_line(client: TestClient) -> None:
    """By its id, the beginning of it, or as the last."""
    run_id = submitted(client)
    for name in (run_id, run_id[:-3], "last", "latest"):
        assert client.get(f"/v1/runs/{name}").json()["run_id"] == run_id
    assert client.get("/v1/runs/none").json()["code"] == "run_not_found"


def test_what_is_kept_of_a_run_is_told(service: Service, client: TestClient, result_of: ResultOf) -> None:
    """The result as it is published; attempts without what has a route of its own."""
    result = end(service, result_of, "r1")
    assert client.get("/v1/runs/r1/result").json() == to_document(result)

    (attempt,) = client.get("/v1/runs/r1/attempts").json()["attempts"]
    assert attempt["number"] == 1
    assert not {"attestation"} & attempt.keys()
    assert "series" not in attempt["usage"]
    series = client.get("/v1/runs/r1/usage").json()["attempts"][0]
    assert series["attempt"] == 1
    assert series["samples"] == to_document(result)["usage"]["series"]  # type: ignore[call-overload,index]  # JSON
    assert client.get("/v1/runs/r1/attempts/1/attestation").json()["outcome"] == "succeeded"
    assert client.get("/v1/runs/r1/attempts/2/attestation").status_code == 404


def test_a_run_that_waits_has_no_result_yet(client: TestClient) -> None:
    """Which is another thing than no run."""
    run_id = submitted(client)
    for answer in (client.get(f"/v1/runs/{run_id}/result"), client.post(f"/v1/runs/{run_id}/replay")):
        assert (answer.status_code, answer.json()["code"]) == (409, "not_yet")
    assert client.get(f"/v1/runs/{run_id}/attempts").json() == {"attempts": []}


def test_a_run_is_cancelled_once(client: TestClient) -> None:
    """One that waits has ended with that; after that it is too late."""
    run_id = submitted(client)
    answer = client.post(f"/v1/runs/{run_id}/cancel")
    assert (answer.status_code, answer.json()) == (202, {"run_id": run_id, "ended": True})
    assert client.get(f"/v1/runs/{run_id}").json()["outcome"] == "cancelled"
    assert client.post(f"/v1/runs/{run_id}/cancel").json()["code"] == "too_late"


def test_a_rerun_and_a_replay_wait_with_all_that_the_record_has(service: Service, client_for: ClientFor) -> None:
    """The same package and values; a replay says of which run, and a rerun that every step runs."""
    author, runner = client_for(Role.AUTHOR), client_for(Role.RUNNER)
    run_id = submitted(author, context={"region": "eu"})
    author.post(f"/v1/runs/{run_id}/cancel")
    stores = service.within("default")

    answers = [
        runner.post(f"/v1/runs/{run_id}/rerun", json={"priority": 3}),
        runner.post(f"/v1/runs/{run_id}/rerun", json={"fresh_context": True}),
        runner.post(f"/v1/runs/{run_id}/replay"),
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    again = [recorded(stores, stores.ledger.record(answer.json()["run_id"])) for answer in answers]
    assert [order.inputs for order in again] == [{"region": "eu"}] * 3
    assert [order.runs_all for order in again] == [True, True, False]
    assert [order.replay_of for order in again] == ["", "", run_id]
    assert stores.ledger.summary(answers[0].json()["run_id"]).priority == 3
    assert runner.post("/v1/runs/none/rerun").status_code == 404


def test_who_asks_again_with_the_same_key_gets_the_same_run(client: TestClient) -> None:
    """By body or header, for a rerun as for a replay; who means something else with it is refused."""
    run_id, other = submitted(client), submitted(client)
    for one in (run_id, other):
        client.post(f"/v1/runs/{one}/cancel")

    def ask(header: str, path: str, **body: object) -> tuple[int, str]:
        answer = client.post(f"/v1/runs/{path}", json=body, headers={"Idempotency-Key": header})
        return answer.status_code, answer.json().get("run_id") or answer.json()["code"]

    kept = {}
    for key, path, body in (
        ("a", f"{run_id}/rerun", {}),
        ("b", f"{run_id}/rerun", {"fresh_context": True}),
        ("c", f"{run_id}/replay", {}),
    ):
        code, kept[key] = ask(key, path, **body)
        assert code == 202
        assert ask(key, path, **body) == (202, kept[key])
        without = client.post(f"/v1/runs/{path}", json={**body, "key": key})
        assert without.json()["run_id"] == kept[key]
    assert len({*kept.values()}) == 3
    assert len(client.get("/v1/runs").json()["runs"]) == 5

    refused = (409, "idempotency")
    assert ask("a", f"{run_id}/rerun", fresh_context=True) == refused
    assert ask("b", f"{run_id}/rerun") == refused
    assert ask("a", f"{run_id}/replay") == refused
    assert ask("c", f"{run_id}/rerun") == refused
    assert ask("a", f"{other}/rerun") == refused
    assert send(client, key="a").json()["code"] == send(client, key="c").json()["code"] == "idempotency"
    assert ask("a", f"{run_id}/rerun", key="x") == (422, "input")
    assert ask("batch:a:1", f"{run_id}/rerun") == (422, "input")


def test_two_runs_are_compared(service: Service, client: TestClient, result_of: ResultOf) -> None:
    """By all that is kept; what is said to be volatile does not count."""
    end(service, result_of, "a1", log={1: ["x"]}, artifacts={"x": b"1"})
    end(service, result_of, "b1", log={1: ["y"]}, artifacts={"x": b"2"})
    found = client.get("/v1/runs/a1/diff/b1").json()
    assert found["verdict"] == "diverged"
    assert {"artifact", "log"} <= {one["area"] for one in found["differences"]}
    same = client.get("/v1/runs/a1/diff/b1", params={"volatile": "x", "tolerance": 0.1}).json()
    assert same["verdict"] == "equivalent"
    assert client.get("/v1/runs/a1/diff/none").status_code == 404
    assert client.get("/v1/runs/a1/diff/b1", params={"tolerance": 2}).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "/result"), ("GET", "/attempts"), ("GET", "/attempts/1/attestation"), ("GET", "/usage"),
        ("GET", "/artifacts"), ("GET", "/artifacts/x"), ("GET", "/logs"), ("GET", "/logs/live"), ("POST", "/cancel"),
        ("POST", "/rerun"), ("POST", "/replay"), ("GET", "/diff/theirs"),
    ],
)  # fmt: skip
def test_a_run_of_another_namespace_answers_as_none(
    service: Service, client_for: ClientFor, result_of: ResultOf, method: str, path: str
) -> None:
    """Word for word, whatever is asked of it; and `last` means one's own."""
    end(service, result_of, "secret", namespace="theirs", artifacts={"x": b"secret"}, log={1: ["secret"]})
    end(service, result_of, "theirs", namespace="theirs")
    ours = client_for(Role.OPERATOR, "ours")
    answers = [ours.request(method, f"/v1/runs/{name}{path}") for name in ("secret", "nobody")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace("secret", "nobody") == answers[1].text
    assert ours.request(method, f"/v1/runs/last{path}").status_code == 404
    assert ours.request(method, f"/v1/runs/s{path}").status_code == 404
    assert ours.get("/v1/runs").json()["runs"] == []


def test_a_run_of_another_namespace_is_no_side_of_a_comparison(
    service: Service, client_for: ClientFor, result_of: ResultOf
) -> None:
    """Neither the left nor the right."""
    end(service, result_of, "mine", namespace="ours")
    end(service, result_of, "secret", namespace="theirs")
    ours = client_for(Role.VIEWER, "ours")
    assert [ours.get(f"/v1/runs/{pair}").status_code for pair in ("mine/diff/secret", "secret/diff/mine")] == [404, 404]
    assert ours.get("/v1/runs/mine/diff/mine").json()["verdict"] == "identical"

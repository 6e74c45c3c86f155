"""Batches and policies over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.access import Role
from isolation.order import recorded
from isolation.service.batch_bodies import MOST_INPUTS
from tests.service.sending import SENT

if TYPE_CHECKING:
    from httpx2 import Client, Response

    from isolation.service.service import Service
    from tests.service.conftest import ClientFor

REGIONS = [{"region": name} for name in ("eu", "us", "asia")]


def begin(client: Client, **how: Any) -> Response:  # noqa: ANN401 - whatever a body may hold
    """Begin a batch."""
    answer: Response = client.post("/v1/batches", json=SENT | {"inputs": REGIONS, "key": "regions"} | how)
    return answer


def test_each_input_is_a_run(service: Service, client: Client) -> None:
    """In the order of the inputs, under keys of the batch; its progress is told."""
    answer = begin(client, context={"region": "none"}, priority=2)
    begun = answer.json()
    assert answer.status_code == 202
    stores = service.stores
    made = [recorded(stores, stores.ledger.record(run_id)) for run_id in begun["runs"]]
    assert [order.inputs for order in made] == REGIONS

    client.post(f"/v1/runs/{begun['runs'][1]}/cancel")
    seen = client.get(answer.headers["Location"]).json()
    assert (seen["count"], seen["ended"], seen["states"]) == (3, False, {"queued": 2, "finished": 1})
    assert seen["outcomes"] == {"cancelled": 1}
    assert [(one["number"], one["run"]["run_id"]) for one in seen["inputs"]] == [*enumerate(begun["runs"], 1)]
    page = client.get("/v1/batches/regions", params={"limit": 2}).json()
    rest = client.get("/v1/batches/regions", params={"after": page["next"]}).json()
    assert [one["number"] for one in page["inputs"] + rest["inputs"]] == [1, 2, 3]
    assert rest["next"] is None


def test_batches_are_listed(client: Client, client_for: ClientFor) -> None:
    """The last begun first, page by page; those of another namespace are not there."""
    assert client.get("/v1/batches").json() == {"batches": [], "next": None}
    first = {key: begin(client, key=key).json()["runs"][0] for key in ("one", "two", "th-ree.1")}
    page = client.get("/v1/batches", params={"limit": 2}).json()
    assert page["next"] == first["two"]
    rest = client.get("/v1/batches", params={"limit": 2, "before": page["next"]}).json()
    assert rest["next"] is None
    found = [(one["key"], one["first"]["run_id"]) for one in page["batches"] + rest["batches"]]
    assert found == [*reversed(first.items())]
    assert client_for(Role.VIEWER, "theirs").get("/v1/batches").json()["batches"] == []


def test_a_batch_is_begun_once(client: Client) -> None:
    """The same again is the same runs, more inputs are added, and other ones are refused: all or none."""
    first = begin(client).json()["runs"]
    assert begin(client).json()["runs"] == first
    more = begin(client, inputs=[*REGIONS, {"region": "moon"}]).json()["runs"]
    assert (more[:3], len(more)) == (first, 4)
    other = begin(client, inputs=[{"region": "sun"}, *REGIONS, *REGIONS])
    assert (other.status_code, other.json()["code"]) == (409, "idempotency")
    assert client.get("/v1/batches/regions").json()["count"] == 4


def test_a_batch_has_its_key_in_a_header_as_well(client: Client) -> None:
    """As a run has."""
    header = {"Idempotency-Key": "regions"}
    begun = client.post("/v1/batches", json=SENT | {"inputs": REGIONS}, headers=header).json()
    assert begun["key"] == "regions"
    assert begin(client).json()["runs"] == begun["runs"]
    assert client.post("/v1/batches", json=SENT | {"inputs": REGIONS, "key": "a"}, headers=header).status_code == 422


def test_a_batch_without_a_key_is_given_one(client: Client) -> None:
    """By which it is found."""
    answer = begin(client, key=None).json()
    assert client.get(f"/v1/batches/{answer['key']}").json()["count"] == 3


@pytest.mark.parametrize(
    "how",
    [
        {"inputs": []},
        {"inputs": [{}] * (MOST_INPUTS + 1)},
        {"inputs": [{"region": 1}, {"": 1}]},
        {"inputs": [7]},
        {"key": "a:1"},
        {"key": "last"},
        {"key": "../x"},
        {"key": ""},
        {"policy": "/etc/passwd"},
        {"recipe": None},
    ],
)
def test_a_batch_that_cannot_be_begun_is_not_begun_in_part(
    service: Service, client: Client, how: dict[str, Any]
) -> None:
    """Nothing of it waits."""
    assert begin(client, **how).status_code == 422
    assert service.stores.ledger.list(9) == ()


def test_a_batch_that_has_no_room_is_not_begun_in_part(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be tried again when there is."""
    monkeypatch.setattr("isolation.storage.queue.MOST_WAITING", 2)
    assert begin(client).status_code == 429
    assert service.stores.ledger.list(9) == ()


def test_a_batch_of_another_namespace_is_none(client_for: ClientFor) -> None:
    """Nor may a runner bring a recipe for many inputs who may not for one."""
    begin(client_for(Role.AUTHOR, "theirs"))
    ours = client_for(Role.RUNNER, "ours")
    theirs, none = ours.get("/v1/batches/regions"), ours.get("/v1/batches/none")
    assert (theirs.status_code, theirs.text) == (404, none.text.replace("none", "regions"))
    assert begin(ours).status_code == 403


def test_policies_are_listed_explained_and_checked(client: Client) -> None:
    """The project's own are there; a text is checked with its line, and not kept."""
    listed = client.get("/v1/policies").json()
    assert {"default", "strict"} <= {one["name"] for one in listed["policies"]}
    assert listed["default"] == "default"
    shown = client.get("/v1/policies/strict").json()
    assert shown["policy"]["name"] == "strict"
    assert "# Which secrets a recipe may ask for" in shown["text"]

    good = client.post("/v1/check/policy", json={"policy": "name: mine\nlimits: {pids: 9}\n"}).json()
    assert good["policy"]["limits"]["pids"] == 9
    wrong = client.post("/v1/check/policy", json={"policy": "name: mine\nlimit: {}\n"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "policy")
    assert wrong.json()["detail"].startswith("policy.yaml:2: unknown key 'limit'")
    assert client.get("/v1/policies/mine").status_code == 404


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "default.yaml", "..", "none"])
def test_a_policy_of_another_place_is_none(client: Client, name: str) -> None:
    """A name is looked up in a list."""
    assert client.get(f"/v1/policies/{name}").status_code == 404

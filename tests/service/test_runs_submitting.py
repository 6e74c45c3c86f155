"""Runs put into the queue over HTTP: what is taken, what is refused, and that nothing of the host is read for it."""

from __future__ import annotations

import json
import tempfile
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.access import Role
from isolation.order import recorded
from isolation.packaging import brought
from tests.service.sending import LOAD, RECIPE, SENT, send, submitted, upload

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from isolation.order import Order
    from isolation.service.service import Service
    from tests.service.conftest import ClientFor

OURS = "name: ours\nnamespaces: [team-*]\n"


def order(service: Service, run_id: str, namespace: str = "default") -> Order:
    """Read what a run is made of."""
    stores = service.within(namespace)
    return recorded(stores, stores.ledger.record(run_id))


def test_a_recipe_and_its_files_wait_in_the_queue(service: Service, client_for: ClientFor) -> None:
    """Packed and durable; the answer tells where to look."""
    author = client_for(Role.AUTHOR)
    answer = send(
        author,
        files={"load.py": LOAD, "data/x.bin": {"base64": b64encode(b"\0\xff").decode()}},
        recipe=RECIPE + "files: ['data/*']\n",
        policy="strict",
        context={"region": "eu"},
        adjustments={"max_retries": 3},
        priority=7,
    )
    run = author.get(answer.headers["Location"]).json()
    assert (answer.status_code, run["run_id"], run["state"]) == (202, answer.json()["run_id"], "queued")
    assert (run["policy"], run["priority"], run["recipe"]) == ("strict", 7, "work")

    made = order(service, run["run_id"])
    assert made.inputs == {"region": "eu"}
    assert made.package.recipe.steps[0].retry_count == 3
    files = {file.path: service.stores.blobs.get(file.digest) for file in made.package.files}
    assert files.keys() == {"recipe.yaml", "load.py", "data/x.bin"}
    assert files["data/x.bin"] == b"\0\xff"


def test_a_recipe_may_be_json(client: TestClient) -> None:
    """As its file might."""
    recipe = {"steps": [{"name": "load", "module": "load", "function": "run"}]}
    answer = send(client, recipe=json.dumps(recipe, indent="\t"))
    assert client.get(answer.headers["Location"]).json()["recipe"] == "recipe"


def test_who_may_bring_recipes_and_who_may_run_what_is_there(service: Service, client_for: ClientFor) -> None:
    """A runner runs a package that is there, and no recipe of their own; what a runner was told is written down."""
    runner = client_for(Role.RUNNER)
    refused = send(runner)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "packages:write" in refused.json()["detail"]
    assert service.stores.ledger.list(9) == ()
    last = service.audit.newest(9)
    assert any(entry.permission == "packages:write" and not entry.allowed for entry in last)

    run_id = submitted(client_for(Role.AUTHOR))
    package = order(service, run_id).package.digest
    again = runner.post("/v1/runs", json={"package": package, "context": {"region": "us"}})
    assert again.status_code == 202
    assert order(service, again.json()["run_id"]).inputs == {"region": "us"}
    assert client_for(Role.VIEWER).post("/v1/runs", json={"package": package}).status_code == 403


def test_a_package_of_another_namespace_is_none(service: Service, client_for: ClientFor) -> None:
    """It answers as one that does not exist, also to who knows its digest."""
    package = order(service, submitted(client_for(Role.AUTHOR))).package.digest
    theirs = client_for(Role.RUNNER, "theirs")
    answers = [theirs.post("/v1/runs", json={"package": digest}) for digest in (package, "0" * 64)]
    assert {answer.status_code for answer in answers} == {404}
    said = [answer.text.replace(package, "0" * 64) for answer in answers]
    assert said[0] == said[1]


def test_the_same_key_is_one_run(client: TestClient) -> None:
    """In the body or in the header; for something else it is refused."""
    first = submitted(client, key="nightly")
    header = {"Idempotency-Key": "nightly"}
    assert client.post("/v1/runs", json=SENT, headers=header).json()["run_id"] == first
    other = client.post("/v1/runs", json=SENT | {"policy": "strict"}, headers=header)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency")
    assert client.post("/v1/runs", json=SENT | {"key": "a"}, headers=header).status_code == 422
    assert send(client, key="batch:nightly:1").status_code == 422


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"recipe": None}, "of a recipe or of a package"),
        ({"package": "0" * 64}, "of a recipe or of a package"),
        ({"recipe": None, "files": {"a": ""}, "package": "0" * 64}, "a package has its files"),
        ({"recipe": "steps: []"}, "recipe.yaml:1: 'steps'"),
        ({"recipe": "{{ x }}"}, "recipe."),
        ({"files": {}}, "module 'load' of step 'load' is not found"),
        ({"policy": "stict"}, "there is no policy 'stict'"),
        ({"only": ["lod"]}, "names 'lod'"),
        ({"context": {"": 1}}, "a context key is empty"),
        ({"environment": "prod", "recipe": RECIPE + "environments: {dev: {}}\n"}, "environment 'prod'"),
        ({"files": {"load.py": {"base64": "!"}}}, "is not in base64"),
        ({"adjustments": {"step_timeout_s": -1}}, "step_timeout_s"),
        ({"priority": 10**12}, "priority"),
        ({"paths": ["/etc"]}, "paths"),
    ],
)
def test_what_cannot_be_run_is_refused(service: Service, client: TestClient, how: dict[str, Any], said: str) -> None:
    """With a sentence that tells names as they were sent, and nothing in the queue."""
    answer = send(client, **how)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]
    assert tempfile.gettempdir() not in answer.text
    assert service.stores.ledger.list(9) == ()


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a/../../x", "a//b", "./a", "a/.", "", "a\0b", "a\nb", "a\\b", "x" * 300, "a/" * 17 + "b",
     "recipe.yaml", "recipe.yaml/x", "load.py/x"],
)  # fmt: skip
def test_a_name_that_is_not_plain_is_refused(service: Service, client: TestClient, name: str) -> None:
    """None leads out of the folder, or means another file than it says."""
    answer = send(client, files={"load.py": LOAD, name: "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "package"), answer.text
    assert service.stores.ledger.list(9) == ()


def test_too_many_files_are_refused(client: TestClient) -> None:
    """A package is for these."""
    assert send(client, files={f"{number}.txt": "" for number in range(brought.MOST_FILES + 1)}).status_code == 422


@pytest.mark.parametrize("how", ["/etc/hostname", "../../../../etc/hostname", "~/x", "//etc/hostname"])
def test_nothing_of_the_host_is_read_for_a_recipe(service: Service, client: TestClient, how: str) -> None:
    """Neither as a data file, nor for what its args name, nor as a module of the server's own folders."""
    assert send(client, recipe=RECIPE + f"files: [{how!r}]\n").status_code == 422
    named = RECIPE.replace("function: run", f"function: run, args: {{path: {how!r}}}")
    made = order(service, submitted(client, recipe=named))
    assert [file.path for file in made.package.files] == ["load.py", "recipe.yaml"]


def test_modules_of_the_servers_own_folders_are_not_taken(tmp_path: Path, service: Service, client: TestClient) -> None:
    """They are for who has an account on it."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "load.py").write_text(LOAD)
    object.__setattr__(service.settings, "paths", (tmp_path / "shared",))
    assert send(client, files={}).status_code == 422


@pytest.mark.parametrize("policy", ["/etc/passwd", "./default.yaml", "../default", "default.yaml", "policies/default"])
def test_a_policy_is_a_name_and_never_a_path(client: TestClient, policy: str) -> None:
    """What is there as a file counts for nothing."""
    answer = send(client, policy=policy)
    assert (answer.status_code, answer.json()["code"]) == (422, "no_such_policy")
    assert send(client, policy="stict").json()["hint"] == "Did you mean 'strict'?"


def test_a_policy_is_for_whom_it_says(service: Service, client_for: ClientFor) -> None:
    """One of the operator's, for some namespaces: others are refused, and do not see it."""
    folder = service.stores.folder / "policies"
    folder.mkdir(parents=True)
    (folder / "ours.yaml").write_text(OURS)
    ours, theirs = client_for(Role.AUTHOR, "team-a"), client_for(Role.AUTHOR, "sales")
    assert send(ours, policy="ours").status_code == 202
    refused, wrong = send(theirs, policy="ours"), send(theirs, policy="mine")
    assert (refused.status_code, refused.json()["code"]) == (422, "no_such_policy")
    assert refused.text.replace("ours", "mine") == wrong.text
    ran = order(service, submitted(theirs), "sales").package.digest
    assert theirs.post("/v1/runs", json={"package": ran, "policy": "ours"}).json()["code"] == "no_such_policy"
    names = [[one["name"] for one in who.get("/v1/policies").json()["policies"]] for who in (ours, theirs)]
    assert [("ours" in one, "default" in one) for one in names] == [(True, True), (False, True)]
    assert ours.get("/v1/policies/ours").json()["text"] == OURS
    hidden, none = theirs.get("/v1/policies/ours"), theirs.get("/v1/policies/none")
    assert (hidden.status_code, hidden.text) == (404, none.text.replace("none", "ours"))


def test_the_operators_policy_goes_before_the_projects(service: Service, client: TestClient) -> None:
    """Also as the default."""
    folder = service.stores.folder / "policies"
    folder.mkdir(parents=True)
    (folder / "default.yaml").write_text("name: default\nlimits: {pids: 9}\n")
    assert order(service, submitted(client)).policy.limits.pids == 9


def test_the_folder_is_gone_whatever_happens(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Accepted, refused, or broken on our side."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []

    def pack(*_: object, **__: object) -> None:
        seen.append(len([*tmp_path.iterdir()]))
        raise MemoryError

    assert send(client).status_code == 202
    assert send(client, files={}).status_code == 422
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr("isolation.order.pack", pack)
    assert send(client).status_code == 500
    assert seen == [len(before) + 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert not [name for name in before if name.startswith("isolation-brought")]


def test_a_full_queue_asks_to_come_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With when; and a batch that has no room is not taken in part."""
    monkeypatch.setattr("isolation.storage.queue.MOST_WAITING", 1)
    submitted(client)
    answer = send(client)
    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_blob_in_the_queue_of_nobody_is_no_run(client: TestClient) -> None:
    """A digest of any content is no package."""
    digest = upload(client, b"x")
    assert client.post("/v1/runs", json={"package": digest}).status_code == 404

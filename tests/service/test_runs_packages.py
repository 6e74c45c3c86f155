"""Packages over HTTP: brought blob by blob, checked, and of nobody but who brought or ran them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from isolation.clock import timestamp
from isolation.model.access import Role
from isolation.model.package import canonical
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.storage.uploads import KEPT
from tests.service.sending import LOAD, RECIPE, SENT, put_package, submitted, upload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.testclient import TestClient

    from isolation.service.service import Service
    from tests.service.conftest import ClientFor

CONTENTS = {"load.py": LOAD.encode(), "recipe.yaml": RECIPE.encode()}


@pytest.fixture
def manifest(tmp_path: Path) -> bytes:
    """Pack the recipe on another machine."""
    from isolation.storage.blobs import BlobStore  # noqa: PLC0415

    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return pack(load_recipe(tmp_path / "recipe.yaml"), blobs=BlobStore(tmp_path / "elsewhere")).manifest()


def test_a_package_is_brought_and_run(client_for: ClientFor, manifest: bytes) -> None:
    """What is missing is named first; then it is listed, shown, and runs."""
    author = client_for(Role.AUTHOR)
    digests = {hashlib.sha256(content).hexdigest() for content in CONTENTS.values()}
    missing = put_package(author, manifest)
    assert (missing.status_code, missing.json()["code"]) == (409, "blobs_missing")
    assert all(digest in missing.json()["detail"] for digest in digests)

    assert {upload(author, content) for content in CONTENTS.values()} == digests
    shown = put_package(author, manifest).json()
    assert [file["path"] for file in shown["files"]] == ["load.py", "recipe.yaml"]
    (listed,) = author.get("/v1/packages").json()["packages"]
    assert (listed["digest"], listed["recipe"]) == (shown["digest"], "work")
    assert author.get(f"/v1/packages/{shown['digest']}").json() == shown
    run = client_for(Role.RUNNER).post("/v1/runs", json={"package": shown["digest"]})
    assert author.get(run.headers["Location"]).json()["digests"]["package"] == shown["digest"]


def test_recipes_are_listed_and_shown(service: Service, client: TestClient, client_for: ClientFor) -> None:
    """By name, each as its newest package has it; those of another namespace are not there."""
    older, at = submitted(client), timestamp(service.clock.now())
    while timestamp(service.clock.now()) == at:  # moments are kept to the millisecond
        pass
    newer = submitted(client, files={"load.py": LOAD + "# changed\n"})
    submitted(client, recipe=RECIPE.replace("work", "also"))
    digests = [client.get(f"/v1/runs/{run_id}").json()["digests"]["package"] for run_id in (newer, older)]
    listed = client.get("/v1/recipes", params={"limit": 1}).json()
    assert ([one["recipe"] for one in listed["recipes"]], listed["next"]) == (["also"], "also")
    rest = client.get("/v1/recipes", params={"after": "also"}).json()
    assert [(one["recipe"], one["digest"]) for one in rest["recipes"]] == [("work", digests[0])]
    shown = client.get("/v1/recipes/work").json()
    assert [one["digest"] for one in shown["packages"]] == digests
    (step,) = shown["definition"]["steps"]
    assert (step["name"], step["module"], step["function"]) == ("load", "load", "run")
    theirs = client_for(Role.OPERATOR, "theirs")
    assert theirs.get("/v1/recipes").json() == {"recipes": [], "next": None}
    assert theirs.get("/v1/recipes/work").json()["code"] == client.get("/v1/recipes/none").json()["code"] == "not_there"


def test_a_package_that_was_run_is_there_too(client: TestClient) -> None:
    """Whoever submitted it as a recipe."""
    submitted(client)
    (listed,) = client.get("/v1/packages").json()["packages"]
    assert client.get(f"/v1/packages/{listed['digest']}").json()["recipe"] == "work"


def test_what_is_brought_lies_apart_until_a_package_is_made_of_it(
    service: Service, client: TestClient, manifest: bytes
) -> None:
    """Then it stays; what is in none goes after a day, and is missing."""
    stores, unused = service.stores, upload(client, b"unused")
    brought = {upload(client, content) for content in CONTENTS.values()}
    assert not [*stores.blobs.digests()]
    assert {*stores.brought.digests()} == {unused, *brought}
    digest = put_package(client, manifest).json()["digest"]
    assert {*stores.blobs.digests()} == {digest, *brought}
    assert {*stores.brought.digests()} == {unused}
    assert put_package(client, manifest).status_code == 200  # as long as they count

    tomorrow = timestamp(service.clock.now() + KEPT)
    assert stores.remove_expired(tomorrow, dry_run=True) == (unused,)
    assert {*stores.brought.digests()} == {unused}
    assert stores.remove_expired(tomorrow) == (unused,)
    assert not [*stores.brought.digests()]
    assert {*stores.blobs.digests()} == {digest, *brought}
    assert submitted(client, recipe=None, files={}, package=digest)
    again = put_package(client, manifest)
    assert (again.status_code, again.json()["code"]) == (409, "blobs_missing")


def test_who_has_brought_much_waits(service: Service, client_for: ClientFor, manifest: bytes) -> None:
    """A manifest counts, too; nothing is kept of what is refused, and another namespace has its own room."""
    ours, theirs = client_for(Role.AUTHOR, "ours"), client_for(Role.AUTHOR, "theirs")
    for content in CONTENTS.values():
        upload(ours, content)
    there = sum(map(len, CONTENTS.values()))
    service.settings = replace(service.settings, uploads_bytes=there + len(manifest) - 1)
    large = b"x" * len(manifest)
    refused = [ours.put(f"/v1/blobs/{hashlib.sha256(large).hexdigest()}", content=large), put_package(ours, manifest)]
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(507, "uploads_full")] * 2
    assert "`uploads`" in refused[0].json()["hint"]
    brought = service.within("ours").brought
    assert len([*brought.digests()]) == len(CONTENTS)
    assert not [*(brought.folder / "tmp").iterdir()]
    assert ours.get("/v1/packages").json()["packages"] == []
    upload(theirs, large)

    service.settings = replace(service.settings, uploads_bytes=there + len(manifest))
    assert put_package(ours, manifest).status_code == 200


def test_a_blob_is_what_its_digest_says(service: Service, client: TestClient) -> None:
    """Else nothing of it is kept."""
    named = hashlib.sha256(b"right").hexdigest()
    answer = client.put(f"/v1/blobs/{named}", content=b"wrong")
    assert answer.status_code == 422
    assert not list(service.stores.brought.digests())
    assert not list((service.stores.brought.folder / "tmp").iterdir())
    assert client.put("/v1/blobs/../../x", content=b"").status_code in {404, 422}
    assert client.put(f"/v1/blobs/{named.upper()}", content=b"right").status_code == 422


def test_a_digest_is_worth_nothing_in_another_namespace(client_for: ClientFor, manifest: bytes) -> None:
    """Else whoever knows one would read the content, from within a run; or learn that somebody has it."""
    ours, theirs = client_for(Role.AUTHOR, "ours"), client_for(Role.AUTHOR, "theirs")
    for content in CONTENTS.values():
        upload(ours, content)
    known = put_package(theirs, manifest)
    assert (known.status_code, known.json()["code"]) == (409, "blobs_missing")
    assert known.json()["detail"].startswith("2 blobs are missing")

    package = put_package(ours, manifest).json()["digest"]
    answers = [theirs.get(f"/v1/packages/{digest}") for digest in (package, "0" * 64)]
    assert answers[0].text.replace(package, "0" * 64) == answers[1].text
    assert answers[0].status_code == 404
    assert theirs.get("/v1/packages").json()["packages"] == []
    brought = [
        theirs.put(f"/v1/blobs/{hashlib.sha256(one).hexdigest()}", content=one) for one in (*CONTENTS.values(), b"new")
    ]
    assert {answer.status_code for answer in brought} == {200}
    assert put_package(theirs, manifest).status_code == 200


def change(**changed: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - whatever a manifest may hold
    """Change values of a manifest."""
    return lambda document: document.update(changed)


def change_step(**changed: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - as above
    """Change values of its step."""
    return lambda document: document["recipe"]["steps"][0].update(changed)


def change_file(**changed: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - as above
    """Change values of its first file."""
    return lambda document: document["files"][0].update(changed)


LOCK = "requests==2.31.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (change_file(path="../x"), "not a path"),
        (change_file(path="/etc/x"), "not a path"),
        (change_file(path="recipe.yaml/x"), "sorted"),
        (change_file(path="zzz"), "sorted"),
        (change_file(path="recipe.yaml"), "sorted"),
        (change_file(size_bytes=-1), "size"),
        (change_file(size_bytes="1"), "size"),
        (change_file(size_bytes=True), "size"),
        (change_file(size_bytes=1), "another size"),
        (change_file(digest="../../etc/passwd"), "digest"),
        (change_file(digest=7), "digest"),
        (change_file(mode=7), "cannot be read"),
        (change_step(depends_on=["load"]), "circle"),
        (change_step(depends_on=["none"]), "no step of this recipe"),
        (change_step(secrets=["TOKEN"]), "does not declare"),
        (change_step(feature="none"), "does not have"),
        (change_step(name="../x"), "cannot be read"),
        (change(lock=LOCK), "without their lock"),
        (change(lock="--index-url http://evil\n"), "neither a pinned name nor a hash"),
        (change(lock="x @ file:///etc\n"), "neither a pinned name nor a hash"),
        (change(lock=7), "are texts"),
        (change(optional_imports=[7]), "are texts"),
        (change(optional_imports=7), "cannot be read"),
        (change(more=1), "damaged"),
    ],
)
def test_a_manifest_that_pack_would_not_write_is_refused(
    service: Service, client: TestClient, manifest: bytes, break_it: Callable[[dict[str, Any]], None], said: str
) -> None:
    """What is read later is believed: who breaks it by hand is told now."""
    for content in CONTENTS.values():
        upload(client, content)
    document = json.loads(manifest)
    break_it(document)
    answer = put_package(client, canonical(document))
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]
    assert client.get("/v1/packages").json()["packages"] == []
    assert str(service.stores.folder) not in answer.text


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"recipe": NaN}'])
def test_what_is_no_manifest_is_refused(client: TestClient, content: bytes) -> None:
    """Whatever it is."""
    assert put_package(client, content).status_code == 422


def test_a_manifest_is_what_its_digest_says(client: TestClient, manifest: bytes) -> None:
    """And no prettier than it was written."""
    assert put_package(client, manifest, "0" * 64).status_code == 422
    pretty = json.dumps(json.loads(manifest), indent=1).encode()
    assert put_package(client, pretty).status_code == 422


def test_a_recipe_is_checked_without_being_kept(service: Service, client: TestClient) -> None:
    """As `isolation package` shows it, with the same digest; what is wrong is told with its line."""
    shown = client.post("/v1/check/recipe", json=SENT)
    assert shown.status_code == 200
    assert not list(service.stores.blobs.digests())
    submitted(client)
    assert client.get("/v1/packages").json()["packages"][0]["digest"] == shown.json()["digest"]
    wrong = client.post("/v1/check/recipe", json={"recipe": "metadata: {name: x}\nstep: []\n"})
    assert wrong.status_code == 422
    assert wrong.json()["detail"].startswith("recipe.yaml:2: unknown key 'step'")


def test_packages_come_in_pages(client: TestClient) -> None:
    """Sorted by digest."""
    for number in range(3):
        submitted(client, recipe=RECIPE.replace("work", f"work{number}"))
    first = client.get("/v1/packages", params={"limit": 2}).json()
    rest = client.get("/v1/packages", params={"limit": 2, "after": first["next"]}).json()
    digests = [one["digest"] for one in first["packages"] + rest["packages"]]
    assert digests == sorted({*digests})
    assert (len(digests), rest["next"]) == (3, None)

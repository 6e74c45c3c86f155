"""Artifacts over HTTP: given as they are, in whole or in parts, and never as anything that a browser would show."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.service.sending import end, submitted

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from isolation.service.service import Service
    from tests.conftest import ResultOf

CONTENT = bytes(range(256)) * 300


@pytest.fixture
def run(service: Service, result_of: ResultOf) -> str:
    end(service, result_of, "r1", artifacts={"out/all.bin": CONTENT, "page.html": b"<script>alert(1)</script>"})
    return "/v1/runs/r1/artifacts"


def test_an_artifact_is_given_whole(client: TestClient, run: str) -> None:
    """With its digest, to be checked by who takes it."""
    listed = {one["name"]: one for one in client.get(run).json()["artifacts"]}
    digest = hashlib.sha256(CONTENT)
    assert listed["out/all.bin"] == {"name": "out/all.bin", "digest": digest.hexdigest(), "size_bytes": len(CONTENT)}
    answer = client.get(f"{run}/out/all.bin")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Repr-Digest"] == f"sha-256=:{b64encode(digest.digest()).decode()}:"
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("wanted", "part"),
    [("0-9", CONTENT[:10]), ("70000-", CONTENT[70000:]), ("-5", CONTENT[-5:]), ("9-9", CONTENT[9:10])],
)
def test_a_part_of_it_is_given(client: TestClient, run: str, wanted: str, part: bytes) -> None:
    """So a broken download goes on where it was."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    answer = client.get(f"{run}/out/all.bin", headers={"Range": f"bytes={wanted}", "If-Range": f'"{digest}"'})
    assert (answer.status_code, answer.content) == (206, part)
    other = client.get(f"{run}/out/all.bin", headers={"Range": f"bytes={wanted}", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, CONTENT)


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=5-1", "lines=1-2", "bytes=" + ",".join(["0-"] * 2000)])
def test_a_part_that_is_none_is_no_fault_of_ours(client: TestClient, run: str, wanted: str) -> None:
    """Refused, or all of it; many parts of the same are not sent many times."""
    answer = client.get(f"{run}/out/all.bin", headers={"Range": wanted})
    assert answer.status_code in {200, 206, 400, 416}
    assert len(answer.content) <= len(CONTENT)


def test_no_browser_shows_or_runs_it(client: TestClient, run: str) -> None:
    """Whatever its name says that it is."""
    headers = client.get(f"{run}/page.html").headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ['a"; filename="b.exe', "ä\u202egnp.exe", "日本.txt"])
def test_a_name_says_nothing_in_a_header(service: Service, client: TestClient, result_of: ResultOf, name: str) -> None:
    """It comes from a recipe: also one that the contract would not let through is written as numbers."""
    end(service, result_of, "r2", artifacts={f"out/{name}": b"x"})
    answer = client.get(f"/v1/runs/r2/artifacts/{quote('out/' + name)}")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=utf-8''{quote(name)}"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "name", ["none", "../r1/out/all.bin", "..%2f..%2fetc%2fpasswd", "out", "out/all.bin%00", "%2fetc%2fpasswd"]
)
def test_a_name_that_is_not_listed_is_not_there(client: TestClient, run: str, name: str) -> None:
    """It is looked up among the run's own, and never a path."""
    assert client.get(f"{run}/{name}").status_code == 404


def test_what_was_taken_away_is_not_there(service: Service, client: TestClient, run: str) -> None:
    """The record knows of it, and nobody has it."""
    service.stores.blobs.remove(hashlib.sha256(CONTENT).hexdigest())
    assert client.get(f"{run}/out/all.bin").status_code == 404


def test_a_run_that_goes_on_has_none_yet(client: TestClient) -> None:
    """They are there with its result."""
    assert client.get(f"/v1/runs/{submitted(client)}/artifacts").json()["code"] == "not_yet"

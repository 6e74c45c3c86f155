"""``isolation serve`` and ``isolation token``, as processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx2
import pytest

from isolation.state.aside import new_file, new_folder
from tests.service.server import ISOLATION, Server
from tests.site import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def isolation(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [ISOLATION, "--state", str(state), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_server_comes_with_a_token_and_goes_gently(tmp_path: Path) -> None:
    """The token is printed once: the next start says nothing of it, and it counts all the same."""
    with Server(tmp_path, "--slots", "0") as server:
        with server.client() as client:
            assert client.put("/v1/context/entry", params={"key": "a"}, json={"value": 1}).status_code == 200
        assert server.stop() == 0
        server.start()
        with server.client() as client:
            assert client.get("/v1/context/entry", params={"key": "a"}).json()["value"] == 1
    assert isolation(tmp_path, "context", "get", "a").stdout == "1\n"


def test_what_a_killed_server_was_writing_goes_when_it_comes_again(tmp_path: Path) -> None:
    """And what another process is writing stays."""
    left = [tmp_path / name for name in ("blobs/tmp/x", "dumps/default/.new-x", "packages/.x/a", "layers/.x/a")]
    for file in left:
        file.parent.mkdir(parents=True)
        file.write_text("half")
    kept = [tmp_path / "packages" / "whole", tmp_path / "dumps" / "default" / "whole.json"]
    for file in kept:
        file.write_text("whole")
    written, writing = new_file(tmp_path / "dumps" / "default", ".new-")
    try:
        with new_folder(tmp_path / "packages", ".") as filling, Server(tmp_path, "--slots", "0"):
            assert not [file for file in left if file.exists() or (file.parent.name == ".x" and file.parent.exists())]
            assert all(file.exists() for file in (*kept, writing, filling))
    finally:
        os.close(written)


def test_tokens_are_made_and_revoked_beside_a_server(tmp_path: Path) -> None:
    """One made by hand counts at once or soon, one that is revoked soon no more."""
    with Server(tmp_path, "--slots", "0") as server:
        made = json.loads(isolation(tmp_path, "token", "new", "ann", "--role", "runner", "--json").stdout)
        assert made["namespaces"] == ["default"]
        with server.client(made["token"]) as client:
            until(lambda: client.get("/v1/me").status_code == 200)
            assert client.get("/v1/me").json()["name"] == "ann"
            assert made["token_id"] in isolation(tmp_path, "token", "list").stdout
            assert "counts no more" in isolation(tmp_path, "token", "revoke", made["token_id"]).stdout
            until(lambda: client.get("/v1/me").status_code == 401)
    listed = json.loads(isolation(tmp_path, "token", "list", "--json").stdout)
    assert [(token["name"], bool(token["revoked_at"])) for token in listed] == [("first", False), ("ann", True)]


def test_what_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    """A write that somebody was told of survives the server, in the middle of many."""
    told: list[int] = []
    with Server(tmp_path, "--slots", "0") as server:

        def write(worker: int) -> None:
            with server.client() as client:
                for number in range(worker, 10_000, 8):
                    try:
                        answer = client.put("/v1/context/entry", params={"key": f"k.{number}"}, json={"value": number})
                    except httpx2.TransportError:
                        return
                    if answer.status_code == 200:
                        told.append(number)

        with ThreadPoolExecutor(8) as pool:
            for worker in range(8):
                pool.submit(write, worker)
            until(lambda: len(told) > 200)
            server.kill()
        server.start()
        with server.client() as client:
            there, after = set(), ""
            while after is not None:
                page = client.get("/v1/context", params={"after": after, "glob": "k.*"}).json()
                there |= {entry["value"] for entry in page["entries"]}
                after = page["next"]
    assert {*told} <= there


def test_two_hundred_clients_at_once_are_all_served(tmp_path: Path) -> None:
    """Each with a connection of its own, and each gets what is its own."""
    with Server(tmp_path, "--slots", "0") as server:
        clients = [server.client() for _ in range(200)]

        def use(number: int) -> bool:
            client = clients[number]
            written = client.put("/v1/context/entry", params={"key": f"k.{number}"}, json={"value": number})
            read = client.get("/v1/context/entry", params={"key": f"k.{number}"})
            return written.status_code == read.status_code == 200 and read.json()["value"] == number

        with ThreadPoolExecutor(200) as pool:
            assert all(pool.map(use, range(200)))
        for client in clients:
            client.close()


def test_anybody_comes_in_where_that_is_allowed(tmp_path: Path) -> None:
    """As what was said, and no more; a token that does not count is still none."""
    with Server(tmp_path, "--slots", "0", "--anonymous", "viewer") as server:
        assert httpx2.get(f"{server.url}/v1/context").status_code == 200
        write = httpx2.put(f"{server.url}/v1/context/entry", params={"key": "a"}, json={"value": 1})
        assert (write.status_code, write.json()["code"]) == (403, "forbidden")
        assert httpx2.get(f"{server.url}/v1/context", headers={"Authorization": "Bearer no"}).status_code == 401


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "::"], "tokens would be readable"),
        (["--host", "::", "--exposed", "--anonymous", "viewer"], "without a token nobody comes in"),
        (["--tls-cert", "x"], "--tls-cert and --tls-key go together"),
        (["--host", "192.0.2.1", "--exposed"], "nothing can listen on 192.0.2.1:8080"),
        (["--tls-cert", "nowhere", "--tls-key", "nowhere"], "nowhere cannot be read: no such file or directory"),
        (["--anonymous", "king"], "king"),
        (["--port", "99999"], "the port 99999 cannot be one"),
        (["--slots", "-1"], "'-1' is not a number from 0"),
    ],
)
def test_a_server_that_cannot_be_says_why(tmp_path: Path, options: list[str], said: str) -> None:
    """Before anything is opened, with a hint."""
    ended = isolation(tmp_path, "serve", "--slots", "0", *options)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 2  # what, and what to do
    assert [*tmp_path.iterdir()] == []


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """And the server leaves."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = isolation(tmp_path, "serve", "--slots", "0", "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 2
    assert "address already in use" in ended.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["new", ""], "cannot be a token's name"),
        (["new", "a", "--role", "king"], "king"),
        (["new", "a", "--expires", "soon"], "soon"),
        (["new", "a", "--namespaces", "a b"], "'a b' covers no namespace"),
        (["revoke", "nobody"], "there is no token 'nobody'"),
    ],
)
def test_what_is_wrong_about_a_token_is_said(tmp_path: Path, words: list[str], said: str) -> None:
    """In a sentence, with a hint."""
    ended = isolation(tmp_path, "token", *words)
    assert ended.returncode == 2
    assert said in ended.stderr

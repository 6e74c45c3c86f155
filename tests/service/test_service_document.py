"""docs/service.md: its commands work, its figures are the code's, and its tables are whole."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from isolation.model.access import Role
from isolation.service import connections, doorkeeper, walls
from isolation.service.batch_bodies import MOST_INPUTS
from isolation.service.problems import Problem
from tests.service.server import Server
from tests.test_documents import BLOCK, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

BASH = "/bin/bash"
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(PAGE) if found == language]


@pytest.mark.slow
def test_its_commands_do_what_they_say(tmp_path: Path) -> None:
    """In their order, against a server as the page starts one."""
    with Server(tmp_path, "--slots", "0") as server:
        own = {"ISOLATION_TOKEN": server.token, "ISOLATION_URL": server.url, "ISOLATION_STATE": str(tmp_path)}
        for line in "".join(blocks("bash")).splitlines():
            done = subprocess.run(
                [BASH, "-c", line], cwd=ROOT, env=os.environ | own, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_its_problem_is_one(client: TestClient) -> None:
    """Word for word."""
    (shown,) = blocks("json")
    answer = client.get("/v1/context/entry", params={"key": "zz"})
    assert answer.json() == json.loads(shown) == Problem(**json.loads(shown)).model_dump()


def test_its_figures_are_the_codes() -> None:
    """What somebody relies on there is so."""
    assert f"show {doorkeeper.WRONG_A_MINUTE} tokens" in PAGE
    assert f"ask {doorkeeper.REQUESTS_A_SECOND:,} times" in PAGE
    assert f"at most {MOST_INPUTS:,} `inputs`" in PAGE
    assert (
        f"A body has {walls.LARGEST_BODY_BYTES >> 20} MiB at most, a blob {walls.LARGEST_BLOB_BYTES >> 20} MiB" in PAGE
    )
    assert f"and {walls.BODY_S:g} seconds to come" in PAGE
    assert f"which has {connections.LARGEST_HEAD_BYTES >> 10} KiB" in PAGE


def test_its_table_has_every_role() -> None:
    """In their order."""
    rows = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in [*Role]] == [*Role]

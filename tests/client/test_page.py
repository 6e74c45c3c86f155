"""The page on the clients: each program in it runs as it is printed, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.client.context import AsyncContextClient, ContextClient
from isolation.client.server import RETRIES, TIMEOUT_S
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/context-clients.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN_PORT = "8080"
PRINTED = [
    "postgresql://localhost/mydb\nnone\n{'config.database_url': 'postgresql://localhost/mydb'}\n",
    "running\nstatus.service_state None running monitor\n",
    "1\n",
    "True 10.0\n",
    "1 running\n",
]


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with Server(tmp_path / "server", "--slots", "0") as server:
        monkeypatch.setenv("ISOLATION_TOKEN", server.token)
        yield server.url.rpartition(":")[2]


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_every_program_of_the_page_does_what_it_says(port: str, tmp_path: Path) -> None:
    """In their order, as whoever reads it would run them; the server only has another port."""
    said = []
    for program in PROGRAMS:
        own = program.replace(SHOWN_PORT, port)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", own],
            cwd=ROOT,
            env=os.environ | {"ISOLATION_STATE": str(tmp_path / "state"), "ISOLATION_URL": f"http://127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{program}\n{done.stderr}"
        said.append(done.stdout)
    assert said == PRINTED


def test_the_page_tells_of_every_method_and_of_both_bounds() -> None:
    """The colours have the same; `list_all` is Framework0's name for `get_all`, `ask` and `follow` are for our own."""
    methods = [
        {name for name in vars(kind) if not name.startswith("_")} - {"ask", "follow", "list_all"}
        for kind in (ContextClient, AsyncContextClient)
    ]

    assert methods[0] == methods[1]
    assert [name for name in sorted(methods[0]) if f"`{name}(" not in PAGE] == []
    assert f"`retries` times ({RETRIES})" in PAGE
    assert f"`timeout_s` ({TIMEOUT_S:g})" in PAGE

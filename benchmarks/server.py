"""A server to be measured: ``isolation serve`` as a process of its own, on a folder of its own on a disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ISOLATION = Path(sys.executable).with_name("isolation")
RECIPE = "metadata: {name: bench}\nsteps: [{name: work, module: work, function: run}]\n"
SCRIPTLET = "def run(context, params):\n    pass\n"


@dataclass(frozen=True)
class Target:
    """The server that is asked: where it listens, its operator's token, its process, and its state folder."""

    port: int
    token: str
    pid: int
    state: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, document: object = None) -> bytes:
        """Write a request as it goes over the wire."""
        body = b"" if document is None else json.dumps(document).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@contextmanager
def on_a_disk() -> Iterator[Path]:
    """Make a folder for as long as the block lasts: on a disk, for what fsync costs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


@contextmanager
def serving(folder: Path, slots: int = 0) -> Iterator[Target]:
    """Serve from a folder for as long as the block lasts; ``slots`` runs go on at once, 0: none is run."""
    state = folder / "state"
    command = [ISOLATION, "--state", state, "serve", "--port", "0", "--slots", str(slots)]
    environment = os.environ | {"ISOLATION_POOL": "off"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            told = iter(server.stdout or ())
            port = int(next(told).rsplit(":", 1)[1])
            yield Target(port=port, token=next(told).split()[-1], pid=server.pid, state=state)
        finally:
            server.terminate()

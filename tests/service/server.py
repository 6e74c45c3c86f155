"""A real server process, as ``isolation serve`` is one, for tests that need it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx2

if TYPE_CHECKING:
    from collections.abc import Mapping

ISOLATION = str(Path(sys.executable).with_name("isolation"))


def free_port() -> int:
    """Name a port of loopback that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """
    ``isolation serve`` on a free port of loopback, with the operator's token that a new state folder gets.

    ``url``, ``token``; ``kill`` takes it away as a power cut would, ``stop`` gently; ``start`` has it come again on the
    same folder, at another port.
    """

    def __init__(self, state: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.state = state
        self.token = ""
        self.url = ""
        self._options = options
        self._environment = os.environ | {"ISOLATION_POOL": "off"} | dict(environment or {})
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        """Start it, and wait until it listens."""
        command = [ISOLATION, "--state", str(self.state), "serve", "--port", "0", *self._options]
        self.process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("listening on "), said
        self.url = said.split()[-1]
        if not self.token:
            said = self.process.stdout.readline()
            assert "shown this once" in said, said
            self.token = said.split()[-1]
        return self.process

    def client(self, token: str | None = None) -> httpx2.Client:
        """Return a client of it; its own operator's, unless it is given another token."""
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {token or self.token}"}, timeout=30)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """End it gently; returns its exit code."""
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

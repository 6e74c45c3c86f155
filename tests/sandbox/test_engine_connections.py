"""How the engine's client uses its socket."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingUnixStreamServer
from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.docker_engine import DockerEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Answers(BaseHTTPRequestHandler):
    """Answers everything with an empty record, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing: a socket's peer has no name."""


class Server(ThreadingUnixStreamServer):
    """Counts its connections."""

    daemon_threads = True
    connections = 0

    def process_request(self, request: object, client_address: object) -> None:
        """Count it."""
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(str(tmp_path / "engine.sock"), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_calls_one_after_the_other_share_a_connection(server: Server) -> None:
    """A run asks six times, each time for something else; to connect is a good part of what that takes."""
    engine = DockerEngine(f"unix://{server.server_address!s}")
    for name in "abcdef":
        engine.inspect(name)

    assert server.connections == 1

"""How the engine's client uses its socket."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingUnixStreamServer
from typing import TYPE_CHECKING

from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.engine import LABEL

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


@contextmanager
def serving(folder: Path, answers: type[Answers]) -> Iterator[Server]:
    """Serve on a socket in a folder."""
    with Server(str(folder / "engine.sock"), answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def test_calls_one_after_the_other_share_a_connection(tmp_path: Path) -> None:
    """A run asks six times, each time for something else; to connect is a good part of what that takes."""
    with serving(tmp_path, Answers) as server:
        engine = DockerEngine(f"unix://{server.server_address!s}")
        for name in "abcdef":
            engine.inspect(name)

    assert server.connections == 1


class StillMaking(Answers):
    """Has a container that it lists the third time it is asked: until then its name is taken, and no more."""

    asked = 0

    def do_GET(self) -> None:
        """Tell of its images, or of the container."""
        if self.path.partition("?")[0].endswith("/images/json"):
            self._say(200, [{"Id": "sha256:0"}])
            return
        type(self).asked += 1
        there = {"Id": "made", "Config": {"Labels": {LABEL: "a run"}}}
        self._say(*((200, there) if self.asked > 2 else (404, {"message": "No such container"})))

    def do_POST(self) -> None:
        """Make nothing."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(409, {"message": "The container name is already in use"})

    def _say(self, status: int, record: object) -> None:
        content = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def test_what_a_dead_asker_wanted_is_waited_for_until_it_is_made(tmp_path: Path) -> None:
    """Nothing else tells of it, and it is not ours to remove: whoever cleans up finds it listed then."""
    with serving(tmp_path, StillMaking) as server:
        DockerEngine(f"unix://{server.server_address!s}").settle("isolation-dead-1")

    assert StillMaking.asked > 2

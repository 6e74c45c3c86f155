"""A proxy on a unix socket, a resolver that knows what it is told, and a real server on the loopback."""

from __future__ import annotations

import socket
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from isolation.clock import SystemClock
from isolation.model.network import Network
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.egress.bounds import Bounds
from isolation.sandbox.egress.folder import Egresses
from isolation.sandbox.egress.proxy import THREAD_NAME, Proxy
from isolation.sandbox.leases import Leases, leases_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.event import Watcher
    from isolation.model.run import Result
    from isolation.sandbox.egress.resolver import Resolver
    from tests.sandbox.conftest import Recipe

LOOPBACK = "127.0.0.1"
Json = dict[str, Any]


class Names:
    """Knows what it is told; several answers for one name are given one after the other, the last for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): [*answer] for name, answer in answers.items()}
        self.asked: list[str] = []

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the next answer."""
        assert port
        self.asked.append(host)
        answers = self._answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Outside(ThreadingHTTPServer):
    """A server of the world outside. It remembers what it was asked, and can hold its answers back."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Answers)
        self.heard: list[tuple[str, list[tuple[str, str]], bytes]] = []
        self.letting_go = threading.Event()
        self.held = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.present = self.most_present = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: of those that break off, the proxy's own words are looked at."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server_port


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Outside

    def do_GET(self) -> None:
        """Answer a path."""
        self._note(b"")
        if self.path == "/hold":
            self._hold()
        if self.path == "/chunks":
            self._send(("Transfer-Encoding", "chunked"), b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        elif self.path == "/until-the-end":
            self._send(("Connection", "close"), b"hello world")
        elif self.path == "/rubbish":
            self.wfile.write(b"this is no HTTP at all\r\n\r\n")
            self.close_connection = True
        elif self.path == "/cut":
            self._send(("Content-Length", "100"), b"hello")
            self.close_connection = True
        else:
            body = b"x" * int(self.path.rpartition("?")[2]) if "?" in self.path else b"hello"
            self._send(("Content-Length", str(len(body))), body)

    def do_HEAD(self) -> None:
        """Answer with the length alone."""
        self._note(b"")
        self._send(("Content-Length", "5"), b"")

    def do_POST(self) -> None:
        """Send back what was sent."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(body)
        self._send(("Content-Length", str(len(body))), body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def _note(self, body: bytes) -> None:
        self.server.heard.append((self.requestline, self.headers.items(), body))

    def _send(self, header: tuple[str, str], body: bytes) -> None:
        self.send_response(200)
        self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)

    def _hold(self) -> None:
        outside = self.server
        with outside.lock:
            outside.present += 1
            outside.most_present = max(outside.most_present, outside.present)
        outside.held.release()
        outside.letting_go.wait(30)
        with outside.lock:
            outside.present -= 1


class Cell:
    """What a cell sees of its proxy: a socket to connect to."""

    def __init__(self, path: Path, proxy: Proxy) -> None:
        self.path = path
        self.proxy = proxy

    def connect(self) -> socket.socket:
        """Connect to it."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        try:
            client.connect(str(self.path))
        except OSError:
            client.close()
            raise
        return client

    def ask(self, request: bytes) -> bytes:
        """Send a request, and return all that comes back."""
        with self.connect() as client:
            client.sendall(request)
            return hear_all(client)

    def get(self, url: str) -> bytes:
        """Fetch a URL as a plain client does."""
        host = url.removeprefix("http://").partition("/")[0]
        return self.ask(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


class Open(Protocol):
    """What the fixture ``open_cell`` gives."""

    def __call__(self, *entries: str, tcp: Sequence[str] = ..., resolver: Resolver = ..., bounds: Bounds = ...) -> Cell:
        """Open a proxy that lets through these entries, and those of TCP."""


@pytest.fixture
def open_cell(tmp_path: Path) -> Iterator[Open]:
    opened: list[Proxy] = []

    def open_(
        *entries: str,
        tcp: Sequence[str] = (),
        resolver: Resolver = Names(),  # noqa: B008 - never changed
        bounds: Bounds = Bounds(),  # noqa: B008 - as above
    ) -> Cell:
        path = tmp_path / f"{len(opened)}.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(bounds.waiting)
        opened.append(Proxy(listener, network(entries, tcp), resolver=resolver, clock=SystemClock(), bounds=bounds))
        return Cell(path, opened[-1])

    yield open_
    for proxy in opened:
        proxy.close()
    assert threads() == []


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        serving.start()
        yield server
        server.letting_go.set()
        server.shutdown()


ASK = """
import urllib.request

def ask(url, **more):
    try:
        with urllib.request.urlopen(url, timeout=10, **more) as answer:
            return answer.read().decode()
    except OSError as error:
        return str(error)
"""


def network(allow: Sequence[str], tcp: Sequence[str] = ()) -> Network:
    """Allow these entries, and those of TCP."""
    entries = {"allow": [*allow], "tcp": [*tcp]}
    return Network.model_validate({name: value for name, value in entries.items() if value} or "none")


class Reach(Protocol):
    """What the fixture ``reach`` gives."""

    def __call__(
        self,
        source: str,
        *entries: str,
        tcp: Sequence[str] = ...,
        names: Names = ...,
        steps: int = ...,
        extra: str = ...,
        watcher: Watcher | None = ...,
        cancel: threading.Event | None = ...,
        runtime: str = ...,
    ) -> Result:
        """Run a recipe whose steps may reach these entries, with names that a test knows."""


@pytest.fixture
def reach(controller: Controller, recipe: Recipe) -> Iterator[Reach]:
    def run(
        source: str,
        *entries: str,
        tcp: Sequence[str] = (),
        names: Names = Names(),  # noqa: B008 - never changed
        steps: int = 1,
        extra: str = "",
        watcher: Watcher | None = None,
        cancel: threading.Event | None = None,
        runtime: str = "runc",
    ) -> Result:
        egresses = Egresses(SystemClock(), resolver=names)
        controller.cells = Cells(controller.engine, Leases(leases_folder()), local=True, egresses=egresses)
        folder = recipe(ASK + textwrap.dedent(source), steps=steps, extra=extra)
        policy = {"name": "test", "limits": {"wall": 30}, "network": network(entries, tcp), "runtime": runtime}
        return controller.run(folder, policy=Policy.model_validate(policy), watcher=watcher, cancel=cancel)

    yield run
    assert threads() == []


def outputs_of(result: Result) -> Json:
    assert result.outcome is Outcome.SUCCEEDED, result.errors
    outputs = result.attempts[0].steps[0].outputs
    assert isinstance(outputs, dict)
    return outputs


def hear_all(client: socket.socket) -> bytes:
    """Read until the other side has said all."""
    heard = b""
    while piece := client.recv(65536):
        heard += piece
    return heard


def threads() -> list[threading.Thread]:
    """Return the threads of proxies that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]

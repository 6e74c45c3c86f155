"""The forwarder in the cell: connections on the loopback, passed on to a socket; whole, bounded, and nothing else."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent.parent.parent / "runner_image"
FORWARD = """
import resource, socket, sys
sys.path.insert(0, sys.argv[1])
from forwarder import forward
if sys.argv[4]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[4]),) * 2)
forward({socket.socket(fileno=int(sys.argv[2])): sys.argv[5]}, sys.argv[3])
"""


class Host:
    """The other side: a unix socket that serves each connection in a thread."""

    def __init__(self, path: Path, serve: Callable[[socket.socket], object]) -> None:
        self.path = path
        self._serve = serve
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self._serving: list[threading.Thread] = []

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._serving.append(threading.Thread(target=self._live, args=(client,)))
                self._serving[-1].start()

    def _live(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._serve(client)

    def close(self) -> None:
        """Take no more, and wait for those that are served."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [self._thread, *self._serving]:
            thread.join()


def echo(client: socket.socket) -> None:
    while piece := client.recv(65536):
        client.sendall(piece)


class Begin:
    """Starts a host's side and a forwarder to it; the last one is ``process``."""

    process: psutil.Process

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._path = folder / "proxy.sock"
        self._stack = stack

    def __call__(self, serve: Callable[[socket.socket], object], open_files: str = "", name: str = "") -> int:
        """Return its port on the loopback; ``name`` is the endpoint that it stands for."""
        host = Host(self._path, serve)
        self._stack.callback(host.close)
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            fd = listener.fileno()
            program = [sys.executable, "-c", FORWARD, str(FOLDER), str(fd), str(host.path), open_files, name]
            process = self._stack.enter_context(subprocess.Popen(program, pass_fds=[fd]))
            self._stack.callback(process.kill)
            self.process = psutil.Process(process.pid)
            port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with contextlib.ExitStack() as stack:
        yield Begin(tmp_path, stack)


def client_of(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def say_all(client: socket.socket, content: bytes) -> None:
    client.sendall(content)
    client.shutdown(socket.SHUT_WR)


def hear_all(client: socket.socket) -> bytes:
    heard = b""
    while piece := client.recv(65536):
        heard += piece
    return heard


def test_what_goes_in_comes_out_whole_in_both_directions(begin: Begin) -> None:
    """Far more than any buffer holds, and an end that is passed on only after all of it."""
    port = begin(lambda client: client.sendall(hear_all(client)))
    content = bytes(range(256)) * 40_000

    with client_of(port) as client:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        assert hear_all(client) == content


def test_many_at_once_do_not_mix(begin: Begin) -> None:
    """One thread carries them all."""
    port = begin(echo)

    def ask(number: int) -> bool:
        content = str(number).encode() * 50_000
        with client_of(port) as client:
            sending = threading.Thread(target=say_all, args=(client, content))
            sending.start()
            heard = hear_all(client)
            sending.join()
        return heard == content

    with ThreadPoolExecutor(20) as clients:
        assert all(clients.map(ask, range(100)))


@pytest.mark.parametrize(("open_files", "most"), [("", 64), ("32", 8)])
def test_beyond_so_many_connections_the_others_wait(begin: Begin, open_files: str, most: int) -> None:
    """In the kernel's queue: it holds no more than its memory and its descriptors allow, and loses none."""
    standing, let_go = threading.Semaphore(0), threading.Event()

    def hold(client: socket.socket) -> None:
        standing.release()
        let_go.wait(20)
        client.sendall(b"at last")

    port = begin(hold, open_files)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_of(port)) for _ in range(100)]
        for _ in range(most):
            assert standing.acquire(timeout=20)
        assert not standing.acquire(timeout=0.2), "one more is let through"

        let_go.set()

        for client in clients:
            assert hear_all(client) == b"at last"
            client.close()


def test_an_answer_arrives_although_the_host_listens_no_more(begin: Begin) -> None:
    """A refusal in the middle of a large body: the client is still sending when the answer comes."""

    def refuse(client: socket.socket) -> None:
        client.recv(10)
        client.sendall(b"no")
        client.shutdown(socket.SHUT_WR)
        hear_all(client)

    port = begin(refuse)

    with client_of(port) as client:
        client.sendall(b"x" * 1_000_000)
        assert client.recv(100) == b"no"


def test_a_client_that_stays_after_the_hosts_end_takes_nothing(begin: Begin) -> None:
    """It is told of the end; what it might still say has nowhere to go, so nothing is kept for it."""
    going = threading.Semaphore(0)

    def say_goodbye(client: socket.socket) -> None:
        client.sendall(b"that was all")
        client.shutdown(socket.SHUT_WR)
        going.acquire(timeout=20)

    port = begin(say_goodbye)
    process = begin.process
    with client_of(port) as client:
        assert hear_all(client) == b"that was all"
        with_one = process.num_fds()

        going.release()

        until_s = time.monotonic() + 20
        while process.num_fds() != with_one - 2:
            assert time.monotonic() < until_s, "two descriptors are held for it"


def test_without_anything_to_do_it_does_nothing(begin: Begin) -> None:
    """Its time is the run's. A half-closed connection in which nothing moves is a loop for who waits carelessly."""
    port = begin(hear_all)
    process = begin.process

    with client_of(port) as one, client_of(port) as another:
        one.shutdown(socket.SHUT_WR)
        another.sendall(b"x")
        before = process.cpu_times()
        threading.Event().wait(0.5)
        after = process.cpu_times()

    assert after.user + after.system - before.user - before.system < 0.1


def test_a_host_that_is_gone_ends_the_client_and_not_the_forwarder(begin: Begin, tmp_path: Path) -> None:
    """A run at its end: its steps get an error, and nothing hangs."""
    port = begin(echo)
    (tmp_path / "proxy.sock").unlink()

    for _ in range(2):
        with client_of(port) as client, contextlib.suppress(ConnectionResetError):
            assert hear_all(client) == b""


START = """
import json, os, pathlib, signal, socket, sys
sys.path.insert(0, sys.argv[1])
import forwarder
os.setpgid(0, 0)
forgotten = pathlib.Path(sys.argv[3])
forwarder.start(json.loads(sys.argv[2]), forgotten.touch)
with socket.create_connection(("127.0.0.1", json.loads(sys.argv[2])["port"])) as client:
    client.sendall(b"x")
    print(json.dumps([client.recv(1).decode(), os.environ["SOME_PROXY"], forgotten.exists()]), flush=True)
os.killpg(0, signal.SIGKILL)
"""


def test_it_listens_before_any_step_and_tells_them_where(tmp_path: Path) -> None:
    """The variables are those of the plan; its process forgets the runner's channel before anything else."""
    host = Host(tmp_path / "proxy.sock", echo)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = json.dumps({"socket": str(host.path), "port": port, "environment": {"SOME_PROXY": "there"}, "tcp": []})
    program = [sys.executable, "-c", START, str(FOLDER), told, str(tmp_path / "forgotten")]

    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    host.close()

    assert json.loads(done.stdout) == ["x", "there", True], done.stderr

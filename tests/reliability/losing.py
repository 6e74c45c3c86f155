"""A proxy on the engine's socket that passes every request on, and loses the replies that a test wants lost."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = {
    "create": rb"POST /v[\d.]+/containers/create",
    "attach": rb"POST /v[\d.]+/containers/[^/]+/attach",
    "start": rb"POST /v[\d.]+/containers/[^/]+/start",
    "inspect": rb"GET /v[\d.]+/containers/[^/]+/json",
    "kill": rb"POST /v[\d.]+/containers/[^/]+/kill",
    "wait": rb"POST /v[\d.]+/containers/[^/]+/wait",
    "remove": rb"DELETE /v[\d.]+/containers/",
}


class LosingProxy(socketserver.ThreadingUnixStreamServer):
    """
    Stands before the engine. ``lose`` says what is lost; ``lost`` counts the replies that were.

    Whoever asked sees the connection end; by then the engine has done what it was asked, all of it, unless ``early``.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, engine: str) -> None:
        super().__init__(str(path), _Passage)
        self.address = f"unix://{path}"
        self.engine = engine.removeprefix("unix://")
        self.lost = 0
        self._call = re.compile(rb"\0")
        self._times = 0
        self.pieces = 0
        self.early = False
        self._lock = threading.Lock()

    def lose(self, call: str, *, times: int = 1, pieces: int = 0, early: bool = False) -> None:
        """
        Lose the next replies of a call; the first ``pieces`` of each come through (an answer's head is one).

        ``early``: as soon as the engine has the request, while it still does what it was asked.
        """
        with self._lock:
            self._call, self._times, self.pieces, self.early = re.compile(CALLS[call]), times, pieces, early

    def takes(self, request: bytes) -> bool:
        """Tell whether the reply to this request is to be lost, and count it."""
        with self._lock:
            if not self._times or not self._call.match(request):
                return False
            self._times -= 1
            self.lost += 1
            return True


class _Passage(socketserver.BaseRequestHandler):
    server: LosingProxy

    def handle(self) -> None:
        self._loses = threading.Event()
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.server.engine)
            back = threading.Thread(target=self._answer, args=(engine,))
            back.start()
            with suppress(OSError):  # either side has gone
                while chunk := self.request.recv(2**16):
                    if self.server.takes(chunk):
                        self._loses.set()
                    engine.sendall(chunk)
                    if self._loses.is_set() and self.server.early:
                        self.request.shutdown(socket.SHUT_RDWR)
                engine.shutdown(socket.SHUT_WR)
            back.join()

    def _answer(self, engine: socket.socket) -> None:
        pieces = 0
        with suppress(OSError):  # as above
            while chunk := engine.recv(2**16):
                if self._loses.is_set():
                    if pieces == self.server.pieces:
                        break
                    pieces += 1
                self.request.sendall(chunk)
            self.request.shutdown(socket.SHUT_RDWR)


@contextmanager
def losing_proxy(folder: Path, engine: str) -> Iterator[LosingProxy]:
    """Give one that stands before the engine at an address."""
    with LosingProxy(folder / "losing", engine) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()

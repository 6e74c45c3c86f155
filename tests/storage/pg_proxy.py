"""A way to PostgreSQL that loses one answer: the server has committed, and who asked never hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

_MERGES = b"INSERT INTO context_entries"
_PIECE = 65536


class LosesACommit:
    """Stands in a folder as a server's socket would, passes everything on, and cuts a merge's commit off its answer."""

    def __init__(self, url: str, folder: Path) -> None:
        parts = urlsplit(url)
        (theirs,) = parse_qs(parts.query)["host"]
        self.url = parts._replace(query=f"host={folder}").geturl()
        self.lost = 0
        self._theirs = f"{theirs}/.s.PGSQL.5432"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Take nobody in any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._theirs)
                for take in (self._ask, self._answer):
                    thread = threading.Thread(target=take, args=(client, server), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        merges = False
        with contextlib.suppress(OSError):
            while piece := client.recv(_PIECE):
                merges = merges or _MERGES in piece
                if merges and b"COMMIT" in piece and not self.lost:
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)  # before the server can answer
                server.sendall(piece)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(_PIECE):
                client.sendall(piece)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

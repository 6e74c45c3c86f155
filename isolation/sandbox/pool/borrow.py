"""
Cells that stand ready in another process, for one that lives for a single command.

::

    borrower ─── engine, image, policy ──▶ lender      ◀── a cell, or none: then the borrower makes its own
             ─── BACK ▶ ◀ TAKEN, or the end of the connection, however it ends: the lender removes it
             ─── GONE: the borrower has removed it
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from isolation.sandbox.pool.hand import receive_cell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from isolation.model.policy import Policy
    from isolation.sandbox.cell import Cell

BACK, GONE, TAKEN = b"b", b"g", b"+"
HEAD = struct.Struct(">I")
_ANSWERS_WITHIN_S = 2.0


class Borrower:
    """
    Borrows cells from whoever lends at ``path``, if anybody does; ``own`` are what they live with here, by name.

    Safe to use from several threads.
    """

    def __init__(self, path: Path, engine_address: str, own: Mapping[str, object]) -> None:
        self._path = path
        self._address = engine_address
        self._own = own
        self._borrowed: dict[Cell, socket.socket] = {}

    def take(self, policy: Policy, image_id: str) -> Cell | None:
        """Borrow an idle cell for a run of that policy; None if there is none just now."""
        asked = json.dumps({"engine": self._address, "image": image_id, "policy": policy.content().decode()}).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_ANSWERS_WITHIN_S)
        cell = None
        try:
            self._connect(connection)
            connection.sendall(HEAD.pack(len(asked)) + asked)
            cell = receive_cell(connection, self._own)
        except (OSError, EOFError):  # nobody lends any more
            pass
        finally:
            if cell is None:
                connection.close()
        if cell is not None:
            self._borrowed[cell] = connection
        return cell

    def _connect(self, connection: socket.socket) -> None:
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{self._path.name}")  # a socket's own path may have 108 bytes
        finally:
            os.close(folder)

    def give_back(self, cell: Cell) -> bool:
        """Give a cell back, in which nothing lives any more, to be removed; False: it must be removed here."""
        connection = self._borrowed.get(cell)
        if connection is None:
            return False
        try:
            connection.sendall(BACK)
            taken = connection.recv(1) == TAKEN
        except OSError:
            taken = False
        del self._borrowed[cell]
        connection.close()
        if taken:
            cell.part()
        return taken

    def forget(self, cell: Cell) -> None:
        """Say of a cell that it is gone, its uid given back: the lender must not give that back again."""
        connection = self._borrowed.pop(cell, None)
        if connection is not None:
            with connection, suppress(OSError):
                connection.sendall(GONE)

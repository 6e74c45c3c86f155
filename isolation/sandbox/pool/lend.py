"""Lends the idle cells of this process to others of the same user, and removes what they have used."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING

from isolation.model.policy import Policy
from isolation.sandbox.pool.borrow import BACK, GONE, HEAD, TAKEN
from isolation.sandbox.pool.hand import exactly, send_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isolation.sandbox.cells import Cells

_ASKS_WITHIN_S = 5.0
_PEER = struct.Struct("3i")


class Lender:
    """Lends cells at a listening socket, until ``life`` can be read; ``own`` as with ``Borrower``."""

    def __init__(self, cells: Cells, engine_address: str, own: Mapping[str, object]) -> None:
        self._cells = cells
        self._address = engine_address
        self._own = own

    def lend(self, listener: socket.socket, life: int) -> None:
        """Serve; returns when all that was lent is back and removed, and so are the idle ones."""
        lent: list[threading.Thread] = []
        while life not in select.select([listener.fileno(), life], [], [])[0]:
            connection, _ = listener.accept()
            lent = [thread for thread in lent if thread.is_alive()]
            lent.append(threading.Thread(target=self._serve, args=(connection,)))
            lent[-1].start()
        listener.close()
        self._cells.close()
        for thread in lent:
            thread.join()
        self._cells.take_back_what_is_left()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            if uid != os.geteuid():
                return
            connection.settimeout(_ASKS_WITHIN_S)
            try:
                (length,) = HEAD.unpack(exactly(connection, HEAD.size))
                asked = json.loads(exactly(connection, length))
                policy = Policy.model_validate_json(asked["policy"])
            except (OSError, EOFError, ValueError, KeyError):
                return
            cell = self._cells.take_idle(policy, asked["image"]) if asked["engine"] == self._address else None
            said = b""
            try:
                send_cell(connection, cell, self._own)
                connection.settimeout(None)
                said = connection.recv(1)
                if said == BACK:
                    connection.sendall(TAKEN)
            except OSError:  # the borrower is gone
                pass
        if cell is not None and said == GONE:
            cell.forget()
        elif cell is not None:
            self._cells.take_back(cell)

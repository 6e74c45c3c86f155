"""
The pool's second process: keeps cells ready, and lends them to the commands that the pool carries out.

It has threads and a connection to the engine, so it forks nothing; and the pool, which forks, has neither. It ends when
the pool does, once every cell that it lent is removed.
"""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from isolation.cli.ahead.place import Place
from isolation.errors import IsolationError
from isolation.settings import Settings
from isolation.wiring import lend_cells

if TYPE_CHECKING:
    import socket

_MOST_CELLS = 4


class Expected(NamedTuple):
    """What whoever starts a pool runs: the next run is taken for one of the same kind."""

    engine: str
    image: str
    policy: str


def lending_place(folder: str, name: str) -> Place:
    """Return where the pool of that name lends its cells."""
    return Place(Path(folder).with_name("lent"), name)


def start_lending(place: Place, expected: Expected) -> int | None:
    """Fork the process that lends; returns the descriptor that ends it when it is closed, or None: it cannot be."""
    try:
        listener = place.listen()
    except OSError:
        return None
    if listener is None:  # a pool that ended a moment ago lends still, to commands that go on
        return None
    life, ours = os.pipe()
    if os.fork() == 0:
        os.close(ours)
        _lend(place, listener, life, expected)
    os.close(life)
    listener.close()
    return ours


def _lend(place: Place, listener: socket.socket, life: int, expected: Expected) -> NoReturn:
    nowhere = Path(os.devnull)  # no state folder is opened
    settings = Settings(state=nowhere, engine=expected.engine, image=expected.image, policy=expected.policy)
    try:
        with suppress(IsolationError):  # then there is nothing to lend, and commands find out why for themselves
            lend_cells(settings, listener, life, most=_MOST_CELLS)
    except BaseException:  # noqa: BLE001 - as an interpreter does it; commands go on without
        traceback.print_exc()
    finally:
        place.leave(listener)
        os._exit(0)

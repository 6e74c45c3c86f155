"""
Cells that stay for further runs of the same package, policy and namespace, where a policy says `reuse: package`.

Each is used by one run at a time, and leaves when nobody has asked for it for a while.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from isolation.clock import Clock
    from isolation.sandbox.cell import Cell

_STAYS_S = 60.0
_MOST = 16


class Kept:
    """The cells that stay in one process; safe to use from several threads. ``close`` removes every one."""

    def __init__(self, destroy: Callable[[Cell], object], clock: Clock, *, stays_s: float = _STAYS_S) -> None:
        self._destroy = destroy
        self._clock = clock
        self._stays_s = stays_s
        self._cells: OrderedDict[Cell, tuple[Hashable, float]] = OrderedDict()
        """Who came last is last."""
        self._changed = threading.Condition()
        self._closed = False
        self._sweeper: threading.Thread | None = None

    def take(self, key: Hashable) -> Cell | None:
        """Take the one of that key that came last, whose memory is warm still; None if there is none."""
        with self._changed:
            found = next((cell for cell in reversed(self._cells) if self._cells[cell][0] == key), None)
            if found is not None:
                del self._cells[found]
            return found

    def has(self, key: Hashable) -> bool:
        """Tell whether there is one of that key."""
        with self._changed:
            return any(of == key for of, _ in self._cells.values())

    def put(self, key: Hashable, cell: Cell) -> None:
        """Keep one for the next run of that key; one that comes after the end is removed."""
        with self._changed:
            self._cells[cell] = key, self._clock.monotonic_s() + self._stays_s
            too_many = self._cells.popitem(last=False)[0] if self._closed or len(self._cells) > _MOST else None
            if self._sweeper is None and not self._closed:
                self._sweeper = threading.Thread(target=self._sweep, name="cells that stay", daemon=True)
                self._sweeper.start()
        if too_many is not None:
            self._destroy(too_many)

    def close(self) -> None:
        """Remove every one."""
        with self._changed:
            self._closed = True
            left = [*self._cells]
            self._cells.clear()
            self._changed.notify_all()
        if self._sweeper is not None:
            self._sweeper.join()
        for cell in left:
            self._destroy(cell)

    def _sweep(self) -> None:
        while True:
            with self._changed:
                now_s = self._clock.monotonic_s()
                old = [cell for cell, (_, until_s) in self._cells.items() if until_s <= now_s]
                for cell in old:
                    del self._cells[cell]
                if old:
                    self._changed.notify_all()
                else:
                    first_s = min((until_s for _, until_s in self._cells.values()), default=now_s + self._stays_s)
                    self._changed.wait_for(lambda: self._closed, first_s - now_s)
                if self._closed:
                    return
            for cell in old:
                self._destroy(cell)

"""
The pool: keeps idle cells by shape, as many as are asked for, and takes used ones away, both beside whoever runs.

::

    take(shape) ─▶ an idle cell, or none: then the caller makes its own
        │            ▲
        └─ asked ─▶ steward ─▶ makers (two threads at most)          give_back(cell) ─▶ removers (two)
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isolation.errors import IsolationError
from isolation.sandbox.pool.pressure import read_pressure

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from isolation.clock import Clock
    from isolation.sandbox.cell import Cell
    from isolation.sandbox.pool.pressure import Pressure
    from isolation.sandbox.pool.shape import Shape

_WORKERS = 2
"""Making or removing a container costs its engine more than one processor's time at once."""
_LOOK_EVERY_S = 1.0
_ASKED_WITHIN_S = 10.0
_AHEAD_S = 2.0
"""So much demand is held ready: some ten times what making one takes."""
_YIELDS_S = 0.1
"""So long nothing is made after one was taken, or removed after it was used: runs that take milliseconds go first."""
_FORGET_AFTER_S = 300.0
_TRY_AGAIN_S = 30.0
_WAITING_REMOVALS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A pool's cells: those that stand ready, those that runs have, and how many it would keep ready now."""

    idle: int
    used: int
    wanted: int


@dataclass
class _Kept:
    """What is kept of one shape."""

    ready: deque[Cell] = field(default_factory=deque)
    asked_s: deque[float] = field(default_factory=deque)
    last_s: float = 0.0
    making: int = 0
    lacks_since_s: float | None = None
    not_before_s: float = 0.0
    """A shape whose cell could not be made is left alone for a while: its runs make their own, and say why not."""


class Pool:
    """
    Idle cells for one process; safe to use from several threads. ``close`` removes every one.

    ``most`` is how many stand at once, of all shapes. ``make`` makes and settles one, ``destroy`` takes one back.
    """

    def __init__(
        self,
        make: Callable[[Shape], Cell],
        destroy: Callable[[Cell], object],
        *,
        most: int,
        clock: Clock,
        pressure: Callable[[], Pressure] = read_pressure,
    ) -> None:
        self._make = make
        self._destroy = destroy
        self._most = most
        self._clock = clock
        self._pressure = pressure
        self._kept: dict[Shape, _Kept] = {}
        self._used: weakref.WeakSet[Cell] = weakref.WeakSet()  # not all that is taken is given back to us
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._turn = 0
        self._leaving = 0
        self._defect: BaseException | None = None
        self._makers = ThreadPoolExecutor(_WORKERS, "making cells")
        self._removers = ThreadPoolExecutor(_WORKERS, "removing cells")
        self._room = threading.Semaphore(_WAITING_REMOVALS)
        self._steward = threading.Thread(target=self._keep, name="pool", daemon=True)
        self._steward.start()

    def __repr__(self) -> str:
        with self._changed:
            return f"Pool(idle={sum(len(kept.ready) for kept in self._kept.values())}, most={self._most})"

    def standing(self) -> Standing:
        """Count the cells."""
        with self._changed:
            now_s = self._clock.monotonic_s()
            return Standing(
                idle=sum(len(kept.ready) for kept in self._kept.values()),
                used=len(self._used),
                wanted=min(self._most, sum(_target(kept, now_s) for kept in self._kept.values())),
            )

    def take(self, shape: Shape) -> Cell | None:
        """Take an idle cell of that shape, which is then the caller's; None if there is none just now."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            kept = self._kept.setdefault(shape, _Kept())
            kept.asked_s.append(now_s)
            kept.last_s = now_s
            found = kept.ready.popleft() if kept.ready else None
            if found is not None:
                self._used.add(found)
            kept.lacks_since_s = kept.lacks_since_s or now_s
            self._tell()
        if found is None or found.stands:
            return found
        self.give_back(found)
        return self.take(shape)

    def expect(self, shape: Shape, count: int = 1) -> None:
        """Say that so many cells of a shape will be asked for."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            kept = self._kept.setdefault(shape, _Kept())
            kept.asked_s.extend([now_s] * count)
            kept.last_s = now_s
            self._tell()

    def wait(self, shape: Shape, count: int, timeout_s: float) -> bool:
        """Wait until so many of a shape stand ready; False if they do not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._kept.get(shape, _Kept()).ready) >= count, timeout_s)

    def give_back(self, cell: Cell) -> None:
        """Have a cell removed beside; waits where too many are to be removed already."""
        self._room.acquire()
        with self._changed:
            self._leaving += 1
            self._used.discard(cell)
        try:
            not_before_s = self._clock.monotonic_s() + _YIELDS_S
            self._removers.submit(self._remove, cell, not_before_s).add_done_callback(self._note)
        except BaseException:
            self._room.release()
            raise

    def wait_for_removals(self, timeout_s: float) -> bool:
        """Wait until all that was given back so far is removed; False if it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._leaving == 0, timeout_s)

    def close(self) -> None:
        """Remove every idle cell, and wait for all that is under way; raises what went wrong unforeseen meanwhile."""
        self._closing.set()
        with self._changed:
            self._tell()
        self._steward.join()
        self._makers.shutdown()
        with self._changed:
            left = [cell for kept in self._kept.values() for cell in kept.ready]
            self._kept.clear()
        for cell in left:
            self.give_back(cell)
        self._removers.shutdown()
        if self._defect is not None:
            raise self._defect

    def _note(self, done: Future[None]) -> None:
        self._defect = self._defect or done.exception()

    def _tell(self) -> None:
        self._turn += 1
        self._changed.notify_all()

    def _remove(self, cell: Cell, not_before_s: float) -> None:
        try:
            self._closing.wait(not_before_s - self._clock.monotonic_s())
            self._destroy(cell)
        finally:
            self._room.release()
            with self._changed:
                self._leaving -= 1
                self._tell()

    def _keep(self) -> None:
        """Make what is missing and remove what is too much, until the end."""
        while True:
            self._closing.wait(self._yields_s())
            pressure = self._pressure()
            with self._changed:
                if self._closing.is_set():
                    return
                seen = self._turn
                wanted, spare = self._plan(pressure)
                for shape in wanted:
                    self._kept[shape].making += 1
                    self._makers.submit(self._make_one, shape).add_done_callback(self._note)
            for cell in spare:
                self.give_back(cell)
            if not wanted and not spare:
                self._await_change(seen)

    def _await_change(self, seen: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._turn != seen, self._patience_s())

    def _patience_s(self) -> float:
        left_s = self._yields_s()
        return min(_LOOK_EVERY_S, left_s) if left_s > 0 else _LOOK_EVERY_S

    def _yields_s(self) -> float:
        """Return how long to leave the processors to whoever took a cell; nothing where one lacks for longer."""
        with self._changed:
            since = [kept.lacks_since_s for kept in self._kept.values() if kept.lacks_since_s is not None]
            return min(since, default=-math.inf) + _YIELDS_S - self._clock.monotonic_s()

    def _plan(self, pressure: Pressure) -> tuple[list[Shape], list[Cell]]:
        now_s = self._clock.monotonic_s()
        spare: list[Cell] = []
        targets: dict[Shape, int] = {}
        for shape, kept in [*self._kept.items()]:
            if now_s - kept.last_s > _FORGET_AFTER_S and not kept.making:
                spare += kept.ready
                del self._kept[shape]
                continue
            targets[shape] = _target(kept, now_s)
        return self._missing(targets, pressure, now_s, spare), spare

    def _missing(self, targets: dict[Shape, int], pressure: Pressure, now_s: float, spare: list[Cell]) -> list[Shape]:
        at_once = {"free": _WORKERS, "busy": 1, "full": 0}[pressure] - sum(kept.making for kept in self._kept.values())
        standing = sum(len(kept.ready) + kept.making for kept in self._kept.values())
        by_use = sorted(targets, key=lambda shape: self._kept[shape].last_s)
        wanted: list[Shape] = []
        for shape in reversed(by_use):  # what was asked for last comes first
            kept = self._kept[shape]
            lacking = targets[shape] - len(kept.ready) - kept.making
            kept.lacks_since_s = (kept.lacks_since_s or now_s) if lacking > 0 else None
            if now_s - (kept.lacks_since_s or 0.0) < _YIELDS_S:
                continue
            while lacking > 0 and at_once > 0 and now_s >= kept.not_before_s:
                if standing >= self._most:
                    older = next((old for old in by_use if old != shape and self._kept[old].ready), None)
                    if older is None or self._kept[older].last_s > kept.last_s:
                        return wanted
                    spare.append(self._kept[older].ready.popleft())
                    standing -= 1
                wanted.append(shape)
                lacking, at_once, standing = lacking - 1, at_once - 1, standing + 1
        return wanted

    def _make_one(self, shape: Shape) -> None:
        made: Cell | None = None
        try:
            made = self._make(shape)
        except IsolationError:
            with self._changed:
                if shape in self._kept:
                    self._kept[shape].not_before_s = self._clock.monotonic_s() + _TRY_AGAIN_S
        finally:
            with self._changed:
                kept = self._kept.get(shape)
                if kept is not None:
                    kept.making -= 1
                    if made is not None:
                        kept.ready.append(made)
                self._tell()


def _target(kept: _Kept, now_s: float) -> int:
    """Return how many of a shape are to stand ready."""
    while kept.asked_s and kept.asked_s[0] < now_s - _ASKED_WITHIN_S:
        kept.asked_s.popleft()
    return max(1, math.ceil(len(kept.asked_s) * _AHEAD_S / _ASKED_WITHIN_S))

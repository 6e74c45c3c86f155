"""
Keeps this process present among those that run runs, and hears who wants one of its runs ended.

One thread, begun with the first run, and only then: it asks for ends twice a second, beats every few seconds, and tries
again to give up what could not be given up when it should have been, as on a disk that was full.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.errors import IsolationError, RunEndedError, RunNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.clock import Clock
    from isolation.stores import Stores

_LOOK_S = 0.5


class Keeper:
    """Watches over the runs of one controller."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: list[tuple[str, threading.Event]] = []  # one run twice, if it was taken from us and came back
        self._owed: list[Callable[[str], object]] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, run_id: str, cancel: threading.Event) -> Iterator[None]:
        """Set ``cancel`` once somebody wants the run ended, or it was taken from this process."""
        with self._lock:
            self._watched.append((run_id, cancel))
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="isolation-keeper", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.remove((run_id, cancel))

    def give_up(self, record: Callable[[str], object]) -> None:
        """Have it recorded that nobody goes on with a run: now, or as soon as it can be. ``record`` takes the time."""
        if not self._recorded(record):
            with self._lock:
                self._owed.append(record)

    def close(self) -> None:
        """End the thread, and be present no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._pay()
            try:
                self._stores.presence.leave()
            except StorageError:  # whoever looks next finds that this process is gone
                return

    def _keep(self) -> None:
        from isolation.storage.presence import BEAT_S  # noqa: PLC0415 - slow to import

        beat_at_s = self._clock.monotonic_s() + BEAT_S
        while not self._over.wait(_LOOK_S):
            try:
                if self._clock.monotonic_s() >= beat_at_s:
                    self._beat()
                    beat_at_s = self._clock.monotonic_s() + BEAT_S
                self._end(self._stores.presence.cancelled())
                self._pay()
            except StorageError:  # whoever settles a run meets the same, and tells it
                continue

    def _beat(self) -> None:
        with self._lock:
            watched = [*self._watched]  # what is taken after the beat is ours
        if not self._stores.presence.beat():
            for _, cancel in watched:
                cancel.set()

    def _end(self, run_ids: tuple[str, ...]) -> None:
        with self._lock:
            for run_id, cancel in self._watched:
                if run_id in run_ids:
                    cancel.set()

    def _pay(self) -> None:
        with self._lock:
            owed, self._owed = self._owed, []
        left = [record for record in owed if not self._recorded(record)]
        with self._lock:
            self._owed += left

    def _recorded(self, record: Callable[[str], object]) -> bool:
        try:
            record(timestamp(self._clock.now()))
        except (RunEndedError, RunNotFoundError):  # by another hand, or never begun: nothing is owed any more
            return True
        except IsolationError:
            return False
        return True

"""
Runs the queue: takes runs as long as it has a slot free, and looks after those whose own process is gone.

It needs nothing but the database, the blobs and an engine; any number of workers may share the first two.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isolation.clock import timestamp
from isolation.errors import IsolationError, RunEndedError, StorageError
from isolation.model.run import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.controller import Controller
    from isolation.storage.queue import Claim

_LOOK_S = 0.1
_REAP_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """
    What a worker tells.

    Of a run that it was ``taken``, has ``ended`` (``detail`` is the outcome), ``waits`` for another attempt, is
    ``fenced`` since another has it by now, was ``returned`` to the queue, or ``recovered`` from one who is gone; and
    ``trouble``, of no run.
    """

    what: Literal["taken", "ended", "waits", "fenced", "returned", "recovered", "trouble"]
    run_id: str = ""
    namespace: str = ""
    detail: str = ""


class Worker:
    """
    Runs what waits, ``slots`` at once.

    ``clean`` takes away what dead processes of this machine left, and tells which of their runs are found again.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        slots: int,
        clean: Callable[[], tuple[str, ...]],
        tell: Callable[[Told], object] = lambda _: None,
    ) -> None:
        from isolation.storage.presence import Lookout  # noqa: PLC0415 - slow to import

        self._controller = controller
        self._slots = slots
        self._clean = clean
        self._tell = tell
        self._lookout = Lookout(controller.stores.presence)
        self._reaped_s: float | None = None
        self._stopping = threading.Event()
        self._released = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._cancels: dict[str, threading.Event] = {}

    def run(self, *, until_empty: bool = False) -> None:
        """Run the queue until ``stop``, or until nothing waits and nothing runs any more."""
        with ThreadPoolExecutor(self._slots, thread_name_prefix="isolation-slot") as pool:
            while not self._stopping.is_set():
                try:
                    self._reap()
                    self._take(pool)
                    if until_empty and not self._cancels and not self._controller.stores.queue.waiting():
                        return
                except StorageError as error:  # it may be back any moment
                    self._tell(Told(what="trouble", detail=error.sentence))
                self._wake.wait(_LOOK_S)
                self._wake.clear()

    def stop(self) -> None:
        """Take no more runs; ``run`` returns when those under way have ended."""
        self._stopping.set()
        self._wake.set()

    def release(self) -> None:
        """Stop, and put what is under way back into the queue."""
        self._released.set()
        self.stop()
        with self._lock:
            for cancel in self._cancels.values():
                cancel.set()

    def _take(self, pool: ThreadPoolExecutor) -> None:
        clock = self._controller.clock
        while len(self._cancels) < self._slots and not self._stopping.is_set():
            claim = self._controller.stores.queue.claim(timestamp(clock.now()))
            if claim is None:
                return
            cancel = threading.Event()
            with self._lock:
                self._cancels[claim.run_id] = cancel
                if self._released.is_set():
                    cancel.set()
            pool.submit(self._carry_on, claim, cancel)

    def _carry_on(self, claim: Claim, cancel: threading.Event) -> None:
        self._tell(_of(claim, "taken"))
        try:
            ended = self._controller.carry_on(claim, cancel=cancel, released=self._released)
        except RunEndedError as error:
            self._tell(_of(claim, "fenced", error.sentence))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not be lost with it
            self._controller.give_back(claim)
            said = error.sentence if isinstance(error, IsolationError) else f"{type(error).__name__}: {error}"
            self._tell(_of(claim, "returned", said))
        else:
            if isinstance(ended, Result):
                self._tell(_of(claim, "ended", ended.outcome.value))
            else:
                self._tell(_of(claim, "waits", f"{ended:g} s"))
        finally:
            with self._lock:
                del self._cancels[claim.run_id]
            self._wake.set()

    def _reap(self) -> None:
        now_s = self._controller.clock.monotonic_s()
        if self._reaped_s is not None and now_s - self._reaped_s < _REAP_S:
            return
        self._reaped_s = now_s
        try:
            found = [*self._clean()]
        except IsolationError as error:  # an engine that is away leaves nothing to clean
            self._tell(Told(what="trouble", detail=error.sentence))
            found = []
        presence = self._controller.stores.presence
        for other in self._lookout.stale(now_s):
            buried = presence.bury(other, timestamp(self._controller.clock.now()))
            found += [*buried.requeued, *buried.abandoned]
        for run_id in found:
            self._tell(Told(what="recovered", run_id=run_id))


def _of(claim: Claim, what: Literal["taken", "ended", "waits", "fenced", "returned"], detail: str = "") -> Told:
    return Told(what=what, run_id=claim.run_id, namespace=claim.namespace, detail=detail)

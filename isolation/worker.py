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
from isolation.errors import EngineUnreachableError, IsolationError, RunEndedError, StorageError
from isolation.model.run import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.controller import Controller
    from isolation.storage.queue import Claim

_LOOK_S = 0.1
_REAP_S = 10.0
_ENGINE_BACK_S = 1.0


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
    Runs what waits, ``slots`` at once; nothing else of its controller's takes runs from the queue.

    While the engine does not answer it takes none: they would be lost, one after another. ``clean`` takes away what
    dead processes of this machine left, and tells which of their runs are found again.
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
        # By epoch, too: a run may be taken from us, and come back.
        self._cancels: dict[tuple[str, int], threading.Event] = {}
        self._away_s: float | None = None  # when we saw last that the engine does not answer
        self._untold: Exception | None = None

    def run(self, *, until_empty: bool = False) -> None:
        """
        Run the queue until ``stop``, or until nothing waits and nothing of ours runs any more.

        Raises what ``tell`` raised: a worker that nobody hears ends what it has, and stops.
        """
        with ThreadPoolExecutor(self._slots, thread_name_prefix="isolation-slot") as pool:
            while not self._stopping.is_set():
                try:
                    self._reap()
                    self._take(pool)
                    if until_empty and not self._cancels and not self._controller.stores.queue.waiting():
                        break
                except StorageError as error:  # it may be back any moment
                    self._say(Told(what="trouble", detail=error.sentence))
                self._wake.wait(_LOOK_S)
                self._wake.clear()
        if self._untold is not None:
            raise self._untold

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
        while len(self._cancels) < self._slots and not self._stopping.is_set() and self._engine_answers():
            claim = self._controller.stores.queue.claim(timestamp(clock.now()))
            if claim is None:
                return
            cancel = threading.Event()
            with self._lock:
                self._cancels[claim.run_id, claim.epoch] = cancel
                if self._released.is_set():
                    cancel.set()
            pool.submit(self._carry_on, claim, cancel)

    def _engine_answers(self) -> bool:
        if self._away_s is None:
            return True
        if self._controller.clock.monotonic_s() - self._away_s < _ENGINE_BACK_S:
            return False
        answers = self._controller.engine_answers()
        self._away_s = None if answers else self._controller.clock.monotonic_s()
        return answers

    def _carry_on(self, claim: Claim, cancel: threading.Event) -> None:
        self._say(_of(claim, "taken"))
        try:
            ended = self._controller.carry_on(claim, cancel=cancel, released=self._released)
        except RunEndedError as error:
            self._say(_of(claim, "fenced", error.sentence))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not be lost with it
            self._return(claim, error)
        else:
            if isinstance(ended, Result):
                self._say(_of(claim, "ended", ended.outcome.value))
            else:
                self._say(_of(claim, "waits", f"{ended:g} s"))
        finally:
            with self._lock:
                del self._cancels[claim.run_id, claim.epoch]
            self._wake.set()

    def _return(self, claim: Claim, error: Exception) -> None:
        if isinstance(error, EngineUnreachableError):
            self._away_s = self._controller.clock.monotonic_s()
        self._controller.give_back(claim)
        said = error.sentence if isinstance(error, IsolationError) else f"{type(error).__name__}: {error}"
        self._say(_of(claim, "returned", said))

    def _reap(self) -> None:
        now_s = self._controller.clock.monotonic_s()
        if self._reaped_s is not None and now_s - self._reaped_s < _REAP_S:
            return
        self._reaped_s = now_s
        try:
            found = [*self._clean()]
        except IsolationError as error:  # an engine that is away leaves nothing to clean
            self._say(Told(what="trouble", detail=error.sentence))
            found = []
        presence = self._controller.stores.presence
        for other in self._lookout.stale(now_s):
            buried = presence.bury(other, timestamp(self._controller.clock.now()))
            found += [*buried.requeued, *buried.abandoned]
        for run_id in [*found, *self._forgotten()]:
            self._say(Told(what="recovered", run_id=run_id))

    def _forgotten(self) -> list[str]:
        """Put back what the database gave us, and the answer was lost: nobody else may, as long as we live."""
        from isolation.storage.queue import Claim  # noqa: PLC0415 - slow to import

        held = self._controller.stores.presence.held()
        with self._lock:
            forgotten = [one for one in held if one[1:] not in self._cancels]
        for namespace, run_id, epoch in forgotten:
            self._controller.give_back(Claim(namespace=namespace, run_id=run_id, epoch=epoch, lost=0))
        return [run_id for _, run_id, _ in forgotten]

    def _say(self, told: Told) -> None:
        try:
            self._tell(told)
        except Exception as error:  # noqa: BLE001 - no run may be lost for it; ``run`` raises it
            self._untold = self._untold or error
            self.stop()


def _of(claim: Claim, what: Literal["taken", "ended", "waits", "fenced", "returned"], detail: str = "") -> Told:
    return Told(what=what, run_id=claim.run_id, namespace=claim.namespace, detail=detail)

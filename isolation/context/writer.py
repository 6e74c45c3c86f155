"""
Writes for many at once: what comes while a transaction is being made durable goes into the next one, all of it.

A disk makes some hundred transactions a second durable, however much is in each. So one thread writes for all, and the
more there are who wait, the more each transaction has in it.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.context.entries import Space
from isolation.context.writing import write
from isolation.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isolation.clock import Clock
    from isolation.context.writing import Order
    from isolation.model.changes import Entry
    from isolation.state.database import Database

_MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    namespace: str
    order: Order
    answer: Future[tuple[Entry, ...]] = field(default_factory=Future)


class Writer:
    """
    One thread that writes what others ask for, in the order in which they ask; ``close`` it.

    ``tell`` hears, in that thread, of the namespaces that a transaction changed, once it is durable.
    """

    def __init__(self, database: Database, clock: Clock, tell: Callable[[Sequence[str]], object]) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
        self._asked: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="context writer", daemon=True)
        self._thread.start()

    def submit(self, namespace: str, order: Order) -> Future[tuple[Entry, ...]]:
        """
        Ask for an order to be written; the answer comes once it is durable, and has its entries.

        Raises ContextError for what cannot be kept; so does the answer for what does not fit what is there, and
        StorageError where nothing could be written.
        """
        order.check()
        waiting = _Waiting(namespace, order)
        self._asked.put(waiting)
        return waiting.answer

    def close(self) -> None:
        """Write what was asked for by now, and end."""
        self._asked.put(None)
        self._thread.join()

    def _write(self) -> None:
        going = True
        while going:
            group = [self._asked.get()]
            while len(group) < _MOST_AT_ONCE and not self._asked.empty():
                group.append(self._asked.get())
            going = None not in group
            orders = [one for one in group if one is not None]
            if orders:
                self._write_group(orders)

    def _write_group(self, group: Sequence[_Waiting]) -> None:
        by_namespace: dict[str, list[_Waiting]] = {}
        for one in group:
            by_namespace.setdefault(one.namespace, []).append(one)
        at = timestamp(self._clock.now())
        answers: list[tuple[_Waiting, tuple[Entry, ...] | Exception]] = []
        try:
            with self._database.writing() as connection:
                for namespace, waiting in by_namespace.items():
                    found = write(Space(connection, namespace), [one.order for one in waiting], at)
                    answers += zip(waiting, found, strict=True)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            known = (
                error if isinstance(error, StorageError) else StorageError(f"the context cannot be written: {error}")
            )
            answers = [(one, known) for one in group]
        for one, answer in answers:
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
        self._tell([*by_namespace])

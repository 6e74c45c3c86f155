"""
The context for many who read and write it at once, whatever their namespaces: each group of them in one transaction.

A disk makes some hundred transactions a second durable, however much is in each; and a query takes about as long for
one key as for twenty. So the more there are who wait, the less each costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.context import entries
from isolation.context.entries import Space
from isolation.context.key import check_key
from isolation.context.writing import write
from isolation.together import Together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from isolation.clock import Clock
    from isolation.context.writing import Order
    from isolation.errors import IsolationError
    from isolation.model.changes import Entry
    from isolation.state.database import Database


class ManyContexts:
    """
    The contexts of all namespaces; ``close`` it.

    ``tell`` hears, in a thread of its own, which namespaces a transaction changed, once it is durable.
    """

    def __init__(self, database: Database, clock: Clock, tell: Callable[[Iterable[str]], object]) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
        self._writer = Together("context writer", self._write)
        self._reader = Together("context reader", self._read)

    def change(self, namespace: str, order: Order) -> Future[tuple[Entry, ...]]:
        """
        Ask for an order to be written; the answer comes once it is durable, and has its entries.

        Raises ContextError for what cannot be kept; so does the answer for what does not fit what is there, and
        StorageError where nothing could be written.
        """
        order.check()
        return self._writer.ask((namespace, order))

    def get(self, namespace: str, key: str) -> Future[Entry | None]:
        """Ask what a key holds now; None if nothing. Raises ContextError for what no key can be."""
        return self._reader.ask((namespace, check_key(key)))

    def close(self) -> None:
        """Do what was asked for by now, and end."""
        self._writer.close()
        self._reader.close()

    def _write(self, asked: Sequence[tuple[str, Order]]) -> Sequence[tuple[Entry, ...] | IsolationError]:
        at = timestamp(self._clock.now())
        answers: dict[int, tuple[Entry, ...] | IsolationError] = {}
        with self._database.writing() as connection:
            for namespace, numbers in _by_namespace(asked).items():
                found = write(Space(connection, namespace), [asked[number][1] for number in numbers], at)
                answers.update(zip(numbers, found, strict=True))
        self._tell({namespace for namespace, _ in asked})
        return [answers[number] for number in range(len(asked))]

    def _read(self, asked: Sequence[tuple[str, str]]) -> Sequence[Entry | None]:
        found: dict[tuple[str, str], Entry] = {}
        with self._database.reading() as connection:
            for namespace, numbers in _by_namespace(asked).items():
                keys = sorted({asked[number][1] for number in numbers})
                held = entries.current(Space(connection, namespace), keys)
                found.update({(namespace, key): entry for key, entry in held.items() if not entry.deleted})
        return [found.get(one) for one in asked]


def _by_namespace(asked: Sequence[tuple[str, object]]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for number, (namespace, _) in enumerate(asked):
        numbers.setdefault(namespace, []).append(number)
    return numbers

"""The context for many at once: what one asks for does no harm to what the others do."""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.context.many import ManyContexts
from isolation.context.writing import Order
from isolation.errors import ContextError
from isolation.model.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.state.database import Database


@pytest.fixture
def many(database: Database) -> Iterator[ManyContexts]:
    made = ManyContexts(database, SystemClock(), lambda _: None)
    yield made
    made.close()


def writes(**how: object) -> Order:
    return Order(**{"changes": Changes(set={"a": 1}), "who": "ann"} | how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "order",
    [
        writes(who="\0"),
        writes(who="\ud800"),
        writes(changes=Changes(set={"a": 1}, writers={"a": "a\0"})),
        writes(expected={"\0": 1}),
    ],
)
def test_what_a_database_refuses_is_refused_to_who_asks_and_to_nobody_else(
    database: Database, many: ManyContexts, order: Order
) -> None:
    """All who write at once do so in one transaction, in whatever namespaces: it would fail for each of them."""
    with database.writing():  # until all of them wait
        first = many.change("ours", writes())
        others = [many.change("ours", writes())]
        with pytest.raises(ContextError):
            many.change("theirs", order)
        others.append(many.change("ours", writes()))
    wait([first, *others])
    assert [entry.version for one in (first, *others) for entry in one.result()] == [1, 2, 3]


def test_what_is_no_key_is_asked_of_nobody(many: ManyContexts) -> None:
    """So it is with all who read at once."""
    with pytest.raises(ContextError):
        many.get("theirs", "\0")

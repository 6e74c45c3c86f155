"""Ten thousand merges: none is lost, and none costs more for those before it."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import pytest

from isolation.model.changes import Changes
from isolation.model.policy import MergeRule
from isolation.stores import Stores
from tests.reliability.counts import KEYS_EACH, RUNS
from tests.reliability.one_run import AT, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.context.store import ContextStore
    from isolation.model.run import Digests
    from isolation.model.snapshot import Snapshot

pytestmark = pytest.mark.slow
UNDER_WAY = 5
"""Runs that have begun when one ends: each finds that others were merged since it began."""
COUNTS = MergeRule.model_validate({"rules": [{"keys": ["count"], "on_conflict": "add"}]})


def begin(stores: Stores, number: int, digests: Digests) -> tuple[int, Snapshot]:
    stores.ledger.start(f"run{number}", "r", "default", digests, AT)
    return number, stores.contexts.freeze(["count"], ["*"])


def end(stores: Stores, number: int, snapshot: Snapshot, digests: Digests) -> None:
    """Add one to what the run saw, write nine keys of its own, and record that it succeeded."""
    run_id, count = f"run{number}", snapshot.values.get("count", 0)
    assert isinstance(count, int)
    changes = Changes(set={"count": count + 1, **{f"own.{number}.{key}": number for key in range(1, KEYS_EACH)}})
    with stores.ledger.settling(run_id) as settling:
        merge = stores.contexts.merge(settling.connection, snapshot, changes, COUNTS, who="r", run_id=run_id, at=AT)
        settling.finish(result_of(run_id, digests, changes, merge), AT)


def test_row_157_ten_thousand_runs_of_ten_keys_lose_nothing(stores: Stores, url: str | None, digests: Digests) -> None:
    """Each key of each run has its value, each run its end, and their common count is how many there were."""
    runs = RUNS if url is None else RUNS // 10  # PostgreSQL is asked over a socket: that takes four times as long
    under_way: deque[tuple[int, Snapshot]] = deque()
    for number in range(runs):
        under_way.append(begin(stores, number, digests))
        if len(under_way) == UNDER_WAY:
            end(stores, *under_way.popleft(), digests)
    while under_way:
        end(stores, *under_way.popleft(), digests)

    content = {entry.key: entry.value for entry in stores.contexts.list()}
    written = Counter(entry.run_id for entry in stores.contexts.history(limit=2 * runs * KEYS_EACH))
    summaries = stores.ledger.list(2 * runs)
    assert content.pop("count") == runs
    assert content == {f"own.{number}.{key}": number for number in range(runs) for key in range(1, KEYS_EACH)}
    assert written == {f"run{number}": KEYS_EACH for number in range(runs)}
    assert Counter(run.state for run in summaries) == {"finished": runs}
    assert len({run.run_id for run in summaries}) == runs


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Stores]:
    """Open the stores of an empty state folder, whose database counts its steps."""
    with Stores(tmp_path / "state") as stores:
        yield stores


def steps_of(stores: Stores, action: Callable[[], object]) -> int:
    """Count what the database does for it, in steps of SQLite's own machine: no clock, and so no noise."""
    done = [0]

    def step() -> None:
        done[0] += 1

    with stores.database.reading() as connection:  # the pool lends the same one again
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_progress_handler(step, 1)
    action()
    raw.set_progress_handler(None, 1)
    assert done[0]
    return done[0]


def fill(stores: Stores, keys: int) -> None:
    for start in range(0, keys, 5_000):
        some = range(start, min(start + 5_000, keys))
        stores.contexts.change(Changes(set={f"own.{number}.1": number for number in some}), "person", AT)


def steps_of_a_merge(stores: Stores, number: int, digests: Digests) -> int:
    begun = begin(stores, number, digests)
    return steps_of(stores, lambda: end(stores, *begun, digests))


def test_a_merge_costs_no_more_in_a_large_store_with_a_long_history(on_sqlite: Stores, digests: Digests) -> None:
    """A store of one key, and one of a hundred thousand, ten thousand of which were written ten times."""
    steps_of_a_merge(on_sqlite, 200_000, digests)  # what is prepared once is prepared now
    small = steps_of_a_merge(on_sqlite, 200_001, digests)
    fill(on_sqlite, 100_000)
    for _ in range(9):
        fill(on_sqlite, 10_000)

    assert steps_of_a_merge(on_sqlite, 200_002, digests) <= small * 1.05
    assert steps_of_a_merge(on_sqlite, 5, digests) <= small * 1.5  # whose keys are there


def test_writing_twice_as_many_keys_costs_twice_as_much(on_sqlite: Stores) -> None:
    """And not four times; where all of them are there already, which are looked up first."""
    fill(on_sqlite, 2_000)
    few = steps_of(on_sqlite, lambda: fill(on_sqlite, 1_000))
    many = steps_of(on_sqlite, lambda: fill(on_sqlite, 2_000))

    assert many <= few * 2.5


LOOKS: dict[str, Callable[[ContextStore], object]] = {
    "changes after a version": lambda contexts: contexts.changes_after(contexts.version() - 10, 10),
    "what writes replaced": lambda contexts: contexts.before(contexts.history("*", 10)),
    "all at a version": lambda contexts: contexts.list("own.*", contexts.version() - 10),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_back_costs_no_more_with_a_longer_history(on_sqlite: Stores, look: str) -> None:
    """Who follows a context that is written all the time would fall behind it, and never catch up."""
    fill(on_sqlite, 100)
    fill(on_sqlite, 100)
    short = steps_of(on_sqlite, lambda: LOOKS[look](on_sqlite.contexts))
    for _ in range(50):
        fill(on_sqlite, 100)

    assert steps_of(on_sqlite, lambda: LOOKS[look](on_sqlite.contexts)) <= short * 1.05

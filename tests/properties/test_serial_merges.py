"""Strict merges are serial: all runs that are merged come out as if each had begun when the one before had ended."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from isolation.context.store import ContextStore
from isolation.model.changes import Changes, Reads
from isolation.model.policy import MergeRule
from isolation.rules.scope import covers
from isolation.state.database import Database

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from isolation.model.changes import Merge
    from isolation.model.snapshot import Snapshot

    Event: TypeAlias = int | tuple[str, int]

KEYS = ("a", "b.x", "b.y", "c")


@dataclass(frozen=True)
class Run:
    """
    A run whose writes come from what it reads, and from nothing else.

    It ``reads`` keys, or lists all; it counts what it finds, and writes the count to each of ``writes``. A key of
    ``ends`` it deletes where the count is even.
    """

    reads: frozenset[str]
    lists: bool
    writes: frozenset[str]
    ends: frozenset[str]
    declared: tuple[str, ...] = ("*",)
    given: tuple[tuple[str, int], ...] = ()

    def act(self, shared: Mapping[str, Any]) -> dict[str, int | None]:
        """Return what it changes, None for a deletion, when the shared context is this."""
        seen = {key: value for key, value in shared.items() if covers([self.declared], key)}
        seen |= {key: value for key, value in self.given if covers([self.declared], key)}
        if not self.lists:
            seen = {key: value for key, value in seen.items() if key in self.reads}
        count = 1 + sum(seen.values()) + 10 * len(seen)
        gone: dict[str, int | None] = dict.fromkeys(self.ends if count % 2 == 0 else ())
        return gone | dict.fromkeys(self.writes, count)


class World:
    """A store and runs on it; ``serial`` is what one after the other would have made, ``final`` what is there."""

    def __init__(self, database: Database, *, strict: bool) -> None:
        self._database = database
        self._contexts = ContextStore(database)
        self._rule = MergeRule(strict=strict, on_conflict="rerun")
        self.serial: dict[str, int] = {}
        self.final: dict[str, Any] = {}
        self.merged = 0

    def begin(self, run: Run) -> tuple[Snapshot, dict[str, int | None]]:
        """Take a snapshot, and let the run work on it."""
        snapshot = self._contexts.freeze(run.declared, ["*"], dict(run.given))
        shown = {key: value for key, value in snapshot.values.items() if key not in dict(run.given)}
        return snapshot, run.act(shown)

    def end(self, run: Run, snapshot: Snapshot, wanted: dict[str, int | None]) -> Merge:
        """Merge it; if that can be, the run is the next in the serial order."""
        changes = Changes(
            set={key: value for key, value in wanted.items() if value is not None},
            deleted=tuple(key for key, value in wanted.items() if value is None),
        )
        reads = Reads(
            keys={key: "step" for key in run.reads if covers([run.declared], key)},
            all_by="step" if run.lists else "",
            scope=(("*",), run.declared),
        )
        with self._database.writing() as connection:
            done = self._contexts.merge(
                connection, snapshot, changes, self._rule, reads=reads, who="run", run_id=None, at="t"
            )
        if done.status != "conflict":
            self.merged += 1
            self._apply(run.act(self.serial))
        return done

    def write(self, key: str, value: int) -> None:
        """Set a key by hand, which is a run that reads nothing."""
        self._contexts.set(key, value, "person", "t")
        self._apply({key: value})

    def content(self) -> dict[str, Any]:
        """Return what the store holds."""
        return {entry.key: entry.value for entry in self._contexts.list()}

    def _apply(self, changes: dict[str, int | None]) -> None:
        for key, value in changes.items():
            self.serial.pop(key, None)
            if value is not None:
                self.serial[key] = value


SOME_KEYS = some.frozensets(some.sampled_from(KEYS), max_size=2)
RUNS = some.builds(
    Run,
    reads=SOME_KEYS,
    lists=some.booleans(),
    writes=some.frozensets(some.sampled_from(KEYS), min_size=1, max_size=2),
    ends=SOME_KEYS,
    declared=some.sampled_from([("*",), ("*",), ("b.*",), ("a", "c")]),
    given=some.sampled_from([(), (("a", 3),)]),
)
BY_HAND: list[Event] = [("a", 5), ("b.y", 7)]
SCHEDULES = some.permutations([*range(4), *range(4), *BY_HAND])
SKEW = [
    Run(reads=frozenset({"a"}), lists=False, writes=frozenset({"c"}), ends=frozenset()),
    Run(reads=frozenset({"c"}), lists=False, writes=frozenset({"a"}), ends=frozenset()),
]
"""Each writes what the other reads: in no order do both see nothing."""
COUNT = [Run(reads=frozenset({"a"}), lists=False, writes=frozenset({"a"}), ends=frozenset())] * 2
"""Both come to the same."""
PHANTOM = [
    Run(reads=frozenset(), lists=True, writes=frozenset({"c"}), ends=frozenset()),
    Run(reads=frozenset(), lists=False, writes=frozenset({"a"}), ends=frozenset()),
]
"""One looks at everything, and what comes then is no key that it could have named."""
AT_ONCE: list[Event] = [0, 1, 1, 0]


def play(runs: Sequence[Run], schedule: Sequence[Event], *, strict: bool) -> World:
    """Let the number of a run begin it, and the next time end it; a pair is a write by hand."""
    with tempfile.TemporaryDirectory() as folder, Database.open(Path(folder)) as database:
        world = World(database, strict=strict)
        under_way: dict[int, tuple[Snapshot, dict[str, int | None]]] = {}
        for event in schedule:
            if isinstance(event, tuple):
                world.write(*event)
            elif event in under_way:
                world.end(runs[event], *under_way.pop(event))
            else:
                under_way[event] = world.begin(runs[event])
        world.final = world.content()
        return world


@pytest.mark.slow
@settings(max_examples=150)
@given(some.lists(RUNS, min_size=4, max_size=4), SCHEDULES)
@example(SKEW, AT_ONCE)
@example(COUNT, AT_ONCE)
@example(PHANTOM, AT_ONCE)
def test_what_is_merged_is_what_one_after_the_other_would_have_made(runs: list[Run], schedule: list[Event]) -> None:
    """Whoever reads what, lists, deletes, sees a part only or is given a value; in the order of the merges."""
    world = play(runs, schedule, strict=True)

    assert json.dumps(world.final, sort_keys=True) == json.dumps(world.serial, sort_keys=True)


@pytest.mark.parametrize("runs", [SKEW, COUNT, PHANTOM], ids=["skew", "count", "phantom"])
def test_without_strict_mode_no_order_gives_what_is_merged(runs: list[Run]) -> None:
    """So the test above can fail: both merge, and strict mode lets one."""
    plain, strict = play(runs, AT_ONCE, strict=False), play(runs, AT_ONCE, strict=True)

    assert (plain.merged, strict.merged) == (2, 1)
    assert plain.final != plain.serial

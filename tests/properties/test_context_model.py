"""The whole of the context store against a plain model: a list of writes, and loops over it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from isolation.context.store import ContextStore
from isolation.errors import ContextChangedError, ContextError
from isolation.model.changes import Changes, Entry, HistoryFilter
from isolation.model.policy import MergeRule, OnConflict
from isolation.state.database import Database

if TYPE_CHECKING:
    from isolation.model.changes import Merge
    from isolation.model.snapshot import Snapshot

GONE = object()
GLOBS: dict[str, tuple[str, ...]] = {
    "*": ("a", "a.b", "a.bc", "b"),
    "a": ("a",),
    "a*": ("a", "a.b", "a.bc"),
    "a.?": ("a.b",),
    "[ab]": ("a", "b"),
    "c*": (),
}
"""What each glob covers of all keys that there may be, written out."""
KEYS = some.sampled_from(GLOBS["*"])
VALUES = some.sampled_from([None, True, 0, 1, 2, 1.0, [], [1], [1, 2], {}, {"x": 1}, {"x": 2}, {"y": 1}])
NUMBERS = some.sampled_from([0, 1, 2, 5, 1.5])
LISTS = some.lists(some.integers(0, 3), max_size=3)
OBJECTS = some.dictionaries(some.sampled_from("xyz"), some.integers(0, 2), max_size=3)
RACES = some.one_of(
    some.tuples(some.sampled_from(["add", "max", "min"]), *[NUMBERS] * 3),
    some.tuples(some.sampled_from(["append", "union"]), *[LISTS] * 3),
    some.tuples(some.just("append"), LISTS, LISTS, LISTS).map(lambda race: (*race[:3], [*race[1], *race[3]])),
    some.tuples(some.just("deep"), *[OBJECTS] * 3),
)
"""A rule that combines, and values for it: what a run sees, what another writes meanwhile, and what the run wants."""
WANTED = some.dictionaries(KEYS, some.just(GONE) | VALUES, min_size=1, max_size=4)
WHO = some.sampled_from(["ann", "bob"])
MOST = 10_000


@dataclass(frozen=True)
class Run:
    """A run under way: its snapshot, and what the model says of the store at that moment."""

    snapshot: Snapshot
    seen: dict[str, Any]
    hidden: frozenset[str]


def said(value: object) -> str:
    """Tell values apart as JSON does: 1, 1.0 and true are three."""
    return "gone" if value is GONE else json.dumps(value, sort_keys=True)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def combined(how: str, base: Any, theirs: Any, ours: Any) -> Any:  # noqa: ANN401 - JSON, or GONE
    """Combine as docs/merging.md says, or return GONE where the rule is not for such values."""
    if how in {"add", "max", "min"}:
        base = 0 if base is GONE or how != "add" else base
        if not all(map(is_number, (base, theirs, ours))):
            return GONE
        return theirs + (ours - base) if how == "add" else (max if how == "max" else min)(theirs, ours)
    if how in {"append", "union"}:
        base = [] if base is GONE or how != "append" else base
        if not all(isinstance(value, list) for value in (base, theirs, ours)):
            return GONE
        if how == "union":
            return theirs + [item for item in dict.fromkeys(ours) if item not in theirs]
        return theirs + ours[len(base) :] if said(ours[: len(base)]) == said(base) else GONE
    base = {} if base is GONE else base
    return deep(base, theirs, ours) if all(isinstance(value, dict) for value in (base, theirs, ours)) else GONE


def deep(base: dict[str, Any], theirs: dict[str, Any], ours: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    """Take each key from who changed it; no value of these tests has objects within."""
    both = {}
    for key in {*theirs, *ours}:
        was, now, wanted = (values.get(key, GONE) for values in (base, theirs, ours))
        if said(wanted) not in {said(was), said(now)} and said(now) != said(was):
            return GONE
        both[key] = now if said(wanted) == said(was) else wanted
    return {key: value for key, value in both.items() if value is not GONE}


class Store(RuleBasedStateMachine):
    """Everything that the store can do, in any order, through closings and openings."""

    runs = Bundle("runs")

    def __init__(self, url: str | None) -> None:
        super().__init__()
        self.url = url
        self.namespace = uuid4().hex  # on a server, each example has an empty one
        self.folder = tempfile.TemporaryDirectory()
        self.begun = 0
        self.entries: list[Entry] = []
        self._open()

    def teardown(self) -> None:
        """Take it all away."""
        self.database.close()
        self.folder.cleanup()

    def _open(self) -> None:
        self.database = Database.open(Path(self.folder.name), self.url)
        self.contexts = ContextStore(self.database, self.namespace)

    # The model.

    def _now(self) -> str:
        return f"2025-01-01T00:00:00.{len(self.entries):03}Z"

    def _newest(self, key: str, version: int = MOST) -> Entry | None:
        return next((entry for entry in reversed(self.entries[:version]) if entry.key == key), None)

    def _held(self, key: str, version: int = MOST) -> Any:  # noqa: ANN401 - JSON, or GONE
        entry = self._newest(key, version)
        return GONE if entry is None or entry.deleted else entry.value

    def _content(self, glob: str, version: int = MOST) -> list[Entry]:
        found = [self._newest(key, version) for key in sorted(GLOBS[glob])]
        return [entry for entry in found if entry is not None and not entry.deleted]

    def _wrote(self, wanted: dict[str, Any], who: str, run_id: str | None = None) -> list[Entry]:
        at = self._now()
        written = [
            Entry(
                version=version,
                key=key,
                value=None if wanted[key] is GONE else wanted[key],
                deleted=wanted[key] is GONE,
                who=who,
                run_id=run_id,
                at=at,
            )
            for version, key in enumerate(sorted(wanted), len(self.entries) + 1)
        ]
        self.entries += written
        return written

    # What may be done.

    @rule(key=KEYS, value=VALUES, who=WHO)
    def set(self, key: str, value: Any, who: str) -> None:  # noqa: ANN401 - JSON
        """Write a value, also one that is there already."""
        entry = self.contexts.set(key, value, who, self._now())

        assert [entry] == self._wrote({key: value}, who)

    @rule(key=KEYS, who=WHO)
    def delete(self, key: str, who: str) -> None:
        """Delete what is there; what is not, is refused."""
        if self._held(key) is GONE:
            with pytest.raises(ContextError):
                self.contexts.delete(key, who, self._now())
        else:
            entry = self.contexts.delete(key, who, self._now())
            assert [entry] == self._wrote({key: GONE}, who)

    @rule(wanted=WANTED, expected=some.dictionaries(KEYS, some.integers(-1, 1), max_size=2), who=WHO)
    def change(self, wanted: dict[str, Any], expected: dict[str, int], who: str) -> None:
        """Write several keys, all or none, if those expected are at the version that they are said to be."""
        versions = {key: 0 if self._held(key) is GONE else self._version_of(key) for key in expected}
        given = {key: max(0, versions[key] + off) for key, off in expected.items()}
        changes = Changes(
            set={key: value for key, value in wanted.items() if value is not GONE},
            deleted=tuple(key for key, value in wanted.items() if value is GONE),
        )
        missing = [key for key in changes.deleted if self._held(key) is GONE]
        if given != versions or missing:
            with pytest.raises(ContextChangedError if given != versions else ContextError):
                self.contexts.change(changes, who, self._now(), expected=given)
        else:
            written = self.contexts.change(changes, who, self._now(), expected=given)
            assert [*written] == self._wrote(wanted, who)

    @rule(target=runs, glob=some.sampled_from([*GLOBS]), given=some.dictionaries(KEYS, VALUES, max_size=1))
    def freeze(self, glob: str, given: dict[str, Any]) -> Run:
        """Begin a run, which sees what a glob covers, and what is given to it alone."""
        return self._begin(glob, given)

    def _begin(self, glob: str, given: dict[str, Any]) -> Run:
        snapshot = self.contexts.freeze((glob,), ("*",), given)

        there = {entry.key: entry for entry in self._content(glob)}
        own = {key: value for key, value in given.items() if key in GLOBS[glob]}
        seen = {key: entry.value for key, entry in there.items()} | own
        assert snapshot.version == len(self.entries)
        assert said(snapshot.values) == said(seen)
        assert snapshot.versions == {key: entry.version for key, entry in there.items() if key not in own}
        return Run(snapshot, seen, frozenset(entry.key for entry in self._content("*")) - {*seen})

    @rule(run=consumes(runs), wanted=WANTED, how=some.sampled_from(get_args(OnConflict)))
    def merge(self, run: Run, wanted: dict[str, Any], how: OnConflict) -> None:
        """End a run."""
        self._end(run, wanted, how)

    @rule(key=KEYS, glob=some.sampled_from(["*", "a*", "c*"]), race=RACES, removed=some.booleans())
    def overtake(self, key: str, glob: str, race: tuple[OnConflict, Any, Any, Any], *, removed: bool) -> None:
        """Begin a run that may see a key, write that meanwhile, and end the run by a rule that combines."""
        how, before, meanwhile, wanted = race
        self.set(key, before, "ann")
        if removed:
            self.delete(key, "ann")
        run = self._begin(glob, {})
        self.set(key, meanwhile, "bob")
        self._end(run, {key: wanted}, how)

    def _end(self, run: Run, wanted: dict[str, Any], how: OnConflict) -> None:
        self.begun += 1
        run_id, at = f"run{self.begun}", self._now()
        changes = Changes(
            set={key: value for key, value in wanted.items() if value is not GONE},
            deleted=tuple(key for key, value in wanted.items() if value is GONE),
        )
        with self.database.writing() as connection:
            merged = self.contexts.merge(
                connection, run.snapshot, changes, MergeRule(on_conflict=how), who="recipe", run_id=run_id, at=at
            )
        self._check_merge(run, wanted, how, merged, run_id)

    def _check_merge(self, run: Run, wanted: dict[str, Any], how: str, merged: Merge, run_id: str) -> None:
        writes, clashes, dropped = {}, set(), set()
        for key, ours in wanted.items():
            theirs, younger = self._held(key), self._version_of(key) > run.snapshot.version
            value = ours
            if younger and how not in {"fail", "rerun", "ours", "theirs"}:
                base = run.seen.get(key, GONE)
                value = GONE if key in run.hidden else combined(how, base, theirs, ours)
                clashes |= {key} if value is GONE else set()
            elif younger and said(theirs) != said(ours):
                clashes |= {key} if how in {"fail", "rerun"} else set()
                dropped |= {key} if how == "theirs" else set()
            if key not in dropped and said(value) != said(theirs):
                writes[key] = value
        assert {conflict.key for conflict in merged.conflicts} == clashes
        assert merged.rerun == (bool(clashes) and how == "rerun")
        if clashes:
            assert (merged.status, merged.version) == ("conflict", len(self.entries))
            return
        self._wrote(writes, "recipe", run_id)
        assert (merged.status, merged.version, {*merged.dropped}) == ("merged", len(self.entries), dropped)

    @rule()
    def reopen(self) -> None:
        """Close everything, as a process that ends does, and open it again."""
        self.database.close()
        self._open()

    def _version_of(self, key: str) -> int:
        entry = self._newest(key)
        return entry.version if entry else 0

    # What may be asked, after each of them.

    @rule(key=KEYS, glob=some.sampled_from([*GLOBS]), back=some.integers(0, 6))
    def look_back(self, key: str, glob: str, back: int) -> None:
        """Ask what a key and a glob held at an earlier version."""
        version = max(0, len(self.entries) - back)
        entry, found = self.contexts.get(key, version), self.contexts.list(glob, version)

        assert (GONE if entry is None else entry) == (
            GONE if self._held(key, version) is GONE else self._newest(key, version)
        )
        assert [*found] == self._content(glob, version)

    @rule(
        glob=some.sampled_from([*GLOBS]),
        limit=some.integers(1, 4),
        who=some.none() | WHO,
        run=some.none() | some.integers(1, 3),
        since=some.none() | some.integers(0, 20),
        until=some.none() | some.integers(0, 20),
    )
    def page(
        self, *, glob: str, limit: int, who: str | None, run: int | None, since: int | None, until: int | None
    ) -> None:
        """Read a history through a filter, page by page."""
        run_id = f"run{run}" if run else None
        first, last = (None if number is None else f"2025-01-01T00:00:00.{number:03}Z" for number in (since, until))
        expected = [
            entry
            for entry in reversed(self.entries)
            if entry.key in GLOBS[glob]
            and who in {None, entry.who}
            and run_id in {None, entry.run_id}
            and (first is None or entry.at >= first)
            and (last is None or entry.at < last)
        ]
        found: list[Entry] = []
        before = None
        while True:
            filters = HistoryFilter(who=who, run_id=run_id, since=first, until=last, before=before)
            read = self.contexts.history(glob, limit, filters)
            found += read
            if len(read) < limit:
                break
            before = read[-1].version

        assert found == expected

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        """Every value with all that is told of it, and the whole history."""
        assert self.contexts.version() == len(self.entries)
        assert [*self.contexts.list()] == self._content("*")
        assert [said(entry.value) for entry in self.contexts.list()] == [said(e.value) for e in self._content("*")]
        assert [*self.contexts.history(limit=MOST)] == self.entries[::-1]


EXAMPLES = settings(max_examples=60, stateful_step_count=25, suppress_health_check=[*HealthCheck], deadline=None)


@pytest.mark.slow
def test_the_store_is_the_model_through_everything(url: str | None) -> None:
    """On both databases."""

    class Here(Store):
        def __init__(self) -> None:
            super().__init__(url)

    run_state_machine_as_test(Here, settings=EXAMPLES)

"""Merges on the real store: many runs that overlap, in any order, and nobody's write is lost or made up."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from isolation.context.store import ContextStore
from isolation.model.changes import Changes
from isolation.model.policy import MergeRule
from isolation.state.database import Database

if TYPE_CHECKING:
    from isolation.model.changes import Merge
    from isolation.model.snapshot import Snapshot

GONE = object()
KEYS = some.sampled_from(["a", "b", "c.d", "e"])
VALUES = some.sampled_from([None, 0, 1, 1.0, True, "1", [1], [1.0], {}, {"x": {"y": None}}])
CONTENT = some.just(GONE) | VALUES
WANTED = some.dictionaries(KEYS, CONTENT, max_size=4)


@dataclass(frozen=True)
class Run:
    """A run under way: what it saw, and how often its keys had been written then."""

    name: str
    snapshot: Snapshot
    written: dict[str, int]


def changes_of(wanted: dict[str, Any], who: str) -> Changes:
    return Changes(
        set={key: value for key, value in wanted.items() if value is not GONE},
        deleted=tuple(sorted(key for key, value in wanted.items() if value is GONE)),
        writers=dict.fromkeys(wanted, who),
    )


def content_of(contexts: ContextStore) -> dict[str, str]:
    return {entry.key: said(entry.value) for entry in contexts.list()}


def said(value: object) -> str:
    return "gone" if value is GONE else json.dumps(value, sort_keys=True)


def merge(database: Database, contexts: ContextStore, run: Run, wanted: dict[str, Any], how: Any = "fail") -> Merge:  # noqa: ANN401 - one of three words
    with database.writing() as connection:
        return contexts.merge(
            connection,
            run.snapshot,
            changes_of(wanted, run.name),
            MergeRule(on_conflict=how),
            who=run.name,
            run_id=run.name,
            at="t",
        )


class Runs(RuleBasedStateMachine):
    """
    Runs begin and end in any order; a person writes in between.

    The model counts how often each key was really changed. A run whose key was changed since it began, to
    something else than it wants, is in conflict; nothing of it may be there, and nothing of another may be gone.
    """

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database.open(Path(self.folder.name))
        self.contexts = ContextStore(self.database)
        self.content: dict[str, str] = {}
        self.writer: dict[str, str] = {}
        self.written: dict[str, int] = {}
        self.begun = 0

    def teardown(self) -> None:
        """Take it all away."""
        self.database.close()
        self.folder.cleanup()

    @rule(target=under_way)
    def begin(self) -> Run:
        """Take a snapshot."""
        self.begun += 1
        snapshot = self.contexts.freeze(None, ["*"])
        assert {key: said(value) for key, value in snapshot.values.items()} == self.content
        return Run(f"run{self.begun}", snapshot, dict(self.written))

    @rule(key=KEYS, value=VALUES)
    def write(self, key: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """Set a key by hand; also an equal value is a write."""
        self.contexts.set(key, value, "person", "t")
        self._wrote(key, value, "person")

    @rule(target=under_way, run=consumes(under_way), wanted=WANTED, how=some.sampled_from(["fail", "ours", "theirs"]))
    def end(self, run: Run, wanted: dict[str, Any], how: str) -> Any:  # noqa: ANN401 - hypothesis' own
        """Merge what a run wants."""
        clashing = {
            key
            for key, value in wanted.items()
            if self.written.get(key, 0) > run.written.get(key, 0) and self.content.get(key, "gone") != said(value)
        }
        before = self.contexts.version()

        done = merge(self.database, self.contexts, run, wanted, how)

        if clashing and how == "fail":
            assert (done.status, self.contexts.version()) == ("conflict", before)
            assert {conflict.key for conflict in done.conflicts} == clashing
            assert all(conflict.their_writer == self.writer[conflict.key] for conflict in done.conflicts)
            return multiple(run)  # it may be tried again
        assert set(done.dropped) == (clashing if how == "theirs" else set())
        for key, value in wanted.items():
            if key not in done.dropped and self.content.get(key, "gone") != said(value):
                self._wrote(key, value, run.name)
        return multiple()

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        """Every value, and who wrote it."""
        assert content_of(self.contexts) == self.content
        assert {entry.key: entry.who for entry in self.contexts.list()} == {
            key: self.writer[key] for key in self.content
        }

    def _wrote(self, key: str, value: object, who: str) -> None:
        self.content.pop(key, None)
        if value is not GONE:
            self.content[key] = said(value)
        self.writer[key] = who
        self.written[key] = self.written.get(key, 0) + 1


TestRuns = pytest.mark.slow(Runs.TestCase)
TestRuns.settings = settings(max_examples=40, stateful_step_count=15, suppress_health_check=[*HealthCheck])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=WANTED, wanted=WANTED, how=some.sampled_from(["fail", "ours", "theirs"]))
def test_one_writer_on_an_unchanged_store_gets_all_that_it_wants(
    database: Database, contexts: ContextStore, before: dict[str, Any], wanted: dict[str, Any], how: str
) -> None:
    """Whatever the rule: there is nobody to be in conflict with. Doing it twice changes nothing more."""
    merge(database, contexts, Run("first", contexts.freeze(None, ["*"]), {}), before, "ours")
    run = Run("second", contexts.freeze(None, ["*"]), {})
    expected = content_of(contexts) | {key: said(value) for key, value in wanted.items()}

    merged = merge(database, contexts, run, wanted, how)
    again = merge(database, contexts, Run("third", contexts.freeze(None, ["*"]), {}), wanted, how)

    assert (merged.conflicts, merged.dropped) == ((), ())
    assert content_of(contexts) == {key: value for key, value in expected.items() if value != "gone"}
    assert again.version == merged.version


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=some.dictionaries(some.sampled_from("abcdefgh"), CONTENT, max_size=8), order=some.permutations(range(4)))
def test_runs_that_write_different_keys_merge_in_any_order_to_the_same(
    tmp_path: Path, wanted: dict[str, Any], order: list[int]
) -> None:
    """They all began from one snapshot; none has to know of the others."""
    contents = []
    for sequence in (range(4), order):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder, Database.open(Path(folder)) as database:
            contexts = ContextStore(database)
            contexts.set("a", "old", "person", "t")
            run = Run("run", contexts.freeze(None, ["*"]), {})
            for part in sequence:
                mine = {key: value for key, value in wanted.items() if ord(key) % 4 == part}
                assert merge(database, contexts, run, mine).status != "conflict"
            contents.append(content_of(contexts))

    assert contents[0] == contents[1]

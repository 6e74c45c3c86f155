"""Strict merges on the real store: what of a run's reads counts, and what a merge looks up for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from isolation.context import entries
from isolation.context.store import ContextStore
from isolation.model.changes import Changes, Merge, Reads
from isolation.model.policy import MergeRule

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.snapshot import Snapshot
    from isolation.state.database import Database

MINE = Changes(set={"mine": 1}, writers={"mine": "step"})
SCOPE = (("*",),)


@pytest.fixture
def merge(database: Database, contexts: ContextStore) -> Callable[..., Merge]:
    """Merge the change of one key, by a rule that minds what was read."""

    def run(snapshot: Snapshot, changes: Changes = MINE, *, strict: bool = True, **reads: Any) -> Merge:  # noqa: ANN401 - a field is anything
        read = Reads(**{"scope": SCOPE, **reads})
        rule = MergeRule(strict=strict)
        with database.writing() as connection:
            return contexts.merge(connection, snapshot, changes, rule, reads=read, who="recipe", run_id="r1", at="t9")

    return run


def keys_of(merge: Merge) -> list[str]:
    return [conflict.key for conflict in merge.conflicts]


def test_a_conflict_of_a_read_names_both_values_both_writers_and_both_runs(
    contexts: ContextStore, merge: Callable[..., Merge]
) -> None:
    """And nothing is written."""
    contexts.set("a", 1, "ann", "t1")
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("a", 2, "bob", "t2", run_id="r0")

    done = merge(snapshot, keys={"a": "step"})

    (conflict,) = done.conflicts
    assert (done.status, conflict.read, conflict.ours, conflict.theirs) == ("conflict", True, 1, 2)
    assert (conflict.our_writer, conflict.our_run_id) == ("step", "r1")
    assert (conflict.their_writer, conflict.their_run_id) == ("bob", "r0")
    assert contexts.get("mine") is None


def test_reads_count_only_where_the_rule_is_strict(contexts: ContextStore, merge: Callable[..., Merge]) -> None:
    """Without it, a run may have read what it likes."""
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("a", 2, "bob", "t2")

    assert merge(snapshot, strict=False, keys={"a": "step"}, all_by="step").status == "merged"


def test_a_run_that_changes_nothing_has_nothing_to_merge(contexts: ContextStore, merge: Callable[..., Merge]) -> None:
    """It took place when its snapshot was taken."""
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("a", 2, "bob", "t2")

    assert merge(snapshot, Changes(), keys={"a": "step"}) == Merge()


def test_a_value_given_for_this_run_only_was_not_read_in_the_shared_context(
    contexts: ContextStore, merge: Callable[..., Merge]
) -> None:
    """Whatever the store holds under that key, the run would have seen the same."""
    contexts.set("a", 1, "ann", "t1")
    snapshot = contexts.freeze(None, ["*"], {"a": 10, "b": 20})
    contexts.set("a", 2, "bob", "t2")
    contexts.set("b", 2, "bob", "t2")

    assert merge(snapshot, keys={"a": "step", "b": "step"}, all_by="step").status == "merged"


def test_who_listed_minds_what_has_come_and_what_has_gone(contexts: ContextStore, merge: Callable[..., Merge]) -> None:
    """Within what the run may see, and but for what it had written itself before it looked."""
    for key in ("a.changed", "a.gone", "a.same"):
        contexts.set(key, 1, "ann", "t1")
    scope: dict[str, Any] = {"all_by": "step", "scope": (("*",), ("a.*",))}
    snapshot = contexts.freeze(["a.*"], ["*"])
    contexts.set("a.same", 2, "bob", "t2")
    contexts.set("a.same", 1, "bob", "t2")
    contexts.set("b.beyond", 1, "bob", "t2")
    contexts.set("a.own", 1, "bob", "t2")
    own: dict[str, Any] = {"own": frozenset({"a.own"}), **scope}
    assert merge(snapshot, **own).status == "merged"

    contexts.set("a.changed", 2, "bob", "t2")
    contexts.set("a.new", 1, "bob", "t2")
    contexts.delete("a.gone", "bob", "t2")

    assert keys_of(merge(snapshot, Changes(set={"other": 1}), **own)) == ["a.changed", "a.gone", "a.new"]


def test_what_changed_since_is_found_without_a_look_at_all_the_rest(
    database: Database, contexts: ContextStore, url: str | None
) -> None:
    """So the cost of a merge does not grow with the store, nor with its history, for who listed either."""
    contexts.change(Changes(set={f"k{number}": 1 for number in range(10)}), "ann", "t1")
    version = contexts.version()
    contexts.set("k3", 2, "bob", "t2")
    contexts.set("k3", 3, "bob", "t2")
    ContextStore(database, "other").set("k4", 3, "bob", "t2")
    asked: list[tuple[str, Any]] = []

    with database.reading() as connection:
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        assert entries.changed_since(entries.Space(connection, "default"), version) == {"k3": 2}
        ((text, values),) = asked
        if url:  # it would scan so small a table even with an index
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = str(connection.exec_driver_sql(f"{'EXPLAIN' if url else 'EXPLAIN QUERY PLAN'} {text}", values).all())

    assert re.search(r"Index Cond: .*version >" if url else r"SEARCH .* USING INDEX .*version>", plan), plan

"""The context's tables: what a merge reads of them, and whose is what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from isolation.context.store import ContextStore
from isolation.model.changes import Changes
from isolation.model.policy import MergeRule

if TYPE_CHECKING:
    from isolation.state.database import Database


def test_a_merge_scans_no_table(database: Database, contexts: ContextStore, url: str | None) -> None:
    """So its cost does not grow with the store, nor with its history."""
    contexts.set("a", 1, "ann", "t")
    snapshot = contexts.freeze(["b"], ["*"])
    contexts.set("a", 2, "ann", "t")
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    with database.writing() as connection:
        event.listen(connection, "before_cursor_execute", note)
        rule = MergeRule(on_conflict="ours")
        changes = Changes(set={"a": 3, "b": 1})
        contexts.merge(connection, snapshot, changes, rule, who="w", run_id="r", at="t")
        event.remove(connection, "before_cursor_execute", note)
        selects = [(statement, parameters) for statement, parameters in asked if statement.startswith("SELECT")]
        if url:  # it would scan so small a table even with an index
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        how = "EXPLAIN" if url else "EXPLAIN QUERY PLAN"
        plans = [connection.exec_driver_sql(f"{how} {text}", values).all() for text, values in selects]

    assert len(selects) == 3
    assert not [plan for plan in plans if re.search(r"\bSCAN (?!.*USING)|Seq Scan", str(plan))]


def test_namespaces_never_meet(database: Database, contexts: ContextStore) -> None:
    """Not their keys, not their versions, not their histories, not their merges."""
    other = ContextStore(database, "other")
    contexts.set("a", 1, "ann", "t1")
    snapshot = other.freeze(None, ["*"])
    contexts.set("a", 2, "ann", "t2")

    assert (other.version(), other.get("a"), other.list(), other.history()) == (0, None, (), ())
    assert snapshot.values == {}
    with database.writing() as connection:
        merged = other.merge(connection, snapshot, Changes(set={"a": 9}), MergeRule(), who="w", run_id="r", at="t")

    assert (merged.status, merged.version) == ("merged", 1)
    assert [(entry.version, entry.value) for entry in other.history()] == [(1, 9)]
    assert [(entry.version, entry.value) for entry in contexts.history()] == [(2, 2), (1, 1)]
    assert other.get("a", version=1) == other.get("a")


def test_each_write_is_told_with_what_it_replaced(contexts: ContextStore) -> None:
    """Also a deletion, also the first write after one; whoever reads the history needs no second look."""
    contexts.set("a", None, "ann", "t1")
    contexts.set("b", 0, "ann", "t2")
    contexts.set("a", 2, "ann", "t3")
    contexts.delete("a", "ann", "t4")
    contexts.set("a", 3, "ann", "t5")

    written = contexts.history("a")

    before = contexts.before(written)
    assert [None if held is None else (held.version, held.value) for held in before] == [None, (3, 2), (1, None), None]

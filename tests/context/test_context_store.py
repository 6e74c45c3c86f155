"""The context as people and runs meet it, on a real database."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import ContextChangedError, ContextError
from isolation.model.changes import Changes, HistoryFilter, Merge
from isolation.model.policy import MergeRule

if TYPE_CHECKING:
    from pydantic import JsonValue

    from isolation.context.store import ContextStore
    from isolation.model.snapshot import Snapshot
    from isolation.state.database import Database

FAIL = MergeRule(on_conflict="fail")


def merge(
    database: Database, contexts: ContextStore, snapshot: Snapshot, changes: Changes, rule: MergeRule = FAIL
) -> Merge:
    with database.writing() as connection:
        return contexts.merge(connection, snapshot, changes, rule, who="recipe", run_id="r1", at="t9")


@pytest.mark.parametrize(
    "value", [None, True, False, 0, 1, 1.0, -0.5, 2**53, "", "é\n\U0001f600", [], {}, {"b": [1, {"a": None}], "a": 1.0}]
)
def test_a_value_comes_back_exactly_as_it_was_set(contexts: ContextStore, value: JsonValue) -> None:
    """An integer that comes back as a float, or true that comes back as 1, breaks somebody's recipe."""
    contexts.set("a.b", value, "ann", "t1")

    entry = contexts.get("a.b")

    assert entry is not None
    assert repr(entry.value) == repr(dict(sorted(value.items())) if isinstance(value, dict) else value)
    assert (entry.version, entry.who, entry.at, entry.run_id) == (1, "ann", "t1", None)


def test_a_key_that_was_never_set_or_was_deleted_holds_nothing(contexts: ContextStore) -> None:
    """Nothing is None; a value of null is an entry."""
    contexts.set("a", None, "ann", "t1")
    assert contexts.get("a") is not None

    contexts.delete("a", "ann", "t2")

    assert contexts.get("a") is None
    assert contexts.get("b") is None
    assert contexts.list() == ()


def test_the_store_can_be_read_as_it_was_at_every_version(contexts: ContextStore) -> None:
    """A deleted key is there before its end, and not after."""
    contexts.set("a", 1, "ann", "t1")
    contexts.set("b", 2, "ann", "t2")
    contexts.delete("a", "ann", "t3")
    contexts.set("b", 4, "ann", "t4")

    then = [{entry.key: entry.value for entry in contexts.list("*", version)} for version in range(5)]

    assert then == [{}, {"a": 1}, {"a": 1, "b": 2}, {"b": 2}, {"b": 4}]
    found = [entry.value if (entry := contexts.get("a", version)) else None for version in range(5)]
    assert found == [None, 1, 1, None, None]


def test_several_writes_are_one(contexts: ContextStore) -> None:
    """All of it or none: a key that is not there, a value that cannot be kept, another's newer version."""
    contexts.set("a", 1, "ann", "t1")

    written = contexts.change(Changes(set={"b": 2, "c": 3}, deleted=("a",)), "ann", "t2", expected={"a": 1, "b": 0})

    assert [(entry.key, entry.version, entry.deleted) for entry in written] == [
        ("a", 2, True),
        ("b", 3, False),
        ("c", 4, False),
    ]
    for changes, expected in (
        (Changes(set={"b": 9}, deleted=("gone",)), {}),
        (Changes(set={"b": 9, "c": float("nan")}), {}),
        (Changes(set={"b": 9}), {"c": 3}),
    ):
        with pytest.raises(ContextError):
            contexts.change(changes, "ann", "t3", expected=expected)
    assert contexts.version() == 4


@pytest.mark.parametrize(
    ("key", "expected", "said"),
    [
        ("a", 1, "the context key 'a' is at version 2, and not at version 1; nothing was written"),
        ("a", 0, "the context key 'a' is at version 2, and should not be there; nothing was written"),
        ("gone", 3, "the context key 'gone' is not there, and not at version 3; nothing was written"),
    ],
)
def test_who_writes_on_what_it_saw_is_told_where_that_has_changed(
    contexts: ContextStore, key: str, expected: int, said: str
) -> None:
    """A deleted key is one that is not there."""
    for value in (1, 2):
        contexts.set("a", value, "ann", "t1")
    contexts.set("gone", 1, "ann", "t2")
    contexts.delete("gone", "ann", "t3")

    with pytest.raises(ContextChangedError) as told:
        contexts.change(Changes(set={key: "mine"}), "bob", "t4", expected={key: expected})

    assert str(told.value) == said
    assert contexts.change(Changes(set={"gone": 1}), "bob", "t5", expected={"gone": 0, "a": 2})


def test_many_that_count_by_comparing_lose_nothing(contexts: ContextStore) -> None:
    """Each looks, adds one, and writes only on what it saw."""
    contexts.set("count", 0, "ann", "t")

    def add_one(number: int) -> None:
        while True:
            seen = contexts.get("count")
            assert seen is not None
            assert isinstance(seen.value, int)
            with contextlib.suppress(ContextChangedError):
                changes = Changes(set={"count": seen.value + 1})
                contexts.change(changes, f"w{number}", "t", expected={"count": seen.version})
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(24)))

    assert [entry.value for entry in contexts.history("count")] == [*range(24, -1, -1)]


def test_a_history_can_be_narrowed_and_turned_page_by_page(contexts: ContextStore) -> None:
    """By who, by run, by time and by what was before."""
    for number in range(1, 7):
        contexts.set(f"k{number % 2}", number, "ann" if number < 4 else "bob", f"t{number}", f"r{number}")

    def found(glob: str = "*", limit: int = 100, **filters: Any) -> list[int]:  # noqa: ANN401 - a filter's own
        return [entry.version for entry in contexts.history(glob, limit, HistoryFilter(**filters))]

    assert found(who="ann") == [3, 2, 1]
    assert found("k1", who="ann") == [3, 1]
    assert found(run_id="r5") == [5]
    assert found(since="t2", until="t5") == [4, 3, 2]
    first = found(limit=4)
    assert (first, found(limit=4, before=first[-1])) == ([6, 5, 4, 3], [2, 1])


def test_the_history_keeps_every_write_newest_first(contexts: ContextStore) -> None:
    """Also deletions, and also writes of an equal value."""
    contexts.set("a", 1, "ann", "t1")
    contexts.set("b", 1, "bob", "t2")
    contexts.set("a", 1, "bob", "t3")
    contexts.delete("a", "eve", "t4")

    assert [(e.version, e.key, e.value, e.deleted, e.who) for e in contexts.history()] == [
        (4, "a", None, True, "eve"),
        (3, "a", 1, False, "bob"),
        (2, "b", 1, False, "bob"),
        (1, "a", 1, False, "ann"),
    ]
    assert [e.version for e in contexts.history("a", limit=2)] == [4, 3]
    assert [e.version for e in contexts.history("[b-c]")] == [2]


def test_a_history_longer_than_one_fetch_is_read_to_its_end(database: Database, contexts: ContextStore) -> None:
    """Rows come in portions; the oldest must be found too."""
    merge(database, contexts, contexts.freeze(None, ["*"]), Changes(set={f"k{i:04}": i for i in range(1200)}))

    assert [e.value for e in contexts.history("*0007")] == [7]
    assert len(contexts.history(limit=2000)) == 1200
    assert len(contexts.history(limit=3)) == 3


def test_keys_are_listed_by_glob_in_order(contexts: ContextStore) -> None:
    """The index narrows by prefix; the glob decides."""
    for key in ("b", "a.y", "a.x", "ab", "é.x"):
        contexts.set(key, key, "ann", "t")

    assert [e.key for e in contexts.list()] == ["a.x", "a.y", "ab", "b", "é.x"]
    assert [e.key for e in contexts.list("a.*")] == ["a.x", "a.y"]
    assert [e.key for e in contexts.list("*.x")] == ["a.x", "é.x"]
    assert [e.key for e in contexts.list("b")] == ["b"]


def test_deleting_a_key_that_is_not_there_suggests_one_that_is(contexts: ContextStore) -> None:
    """It is most often a typing error."""
    contexts.set("sales.total", 1, "ann", "t1")

    with pytest.raises(ContextError) as caught:
        contexts.delete("sale.total", "ann", "t2")

    assert str(caught.value) == "the context has no key 'sale.total'"
    assert caught.value.hint == "Did you mean 'sales.total'?"


def test_a_snapshot_holds_only_what_both_recipe_and_policy_cover(contexts: ContextStore) -> None:
    """Least privilege: what a run may not see is not in its container."""
    for key in ("a.x", "a.y", "b.x", "secret"):
        contexts.set(key, key, "ann", "t")
    contexts.delete("a.y", "ann", "t")

    assert contexts.freeze(["a.*", "secret"], ["?.*"]).values == {"a.x": "a.x"}
    assert contexts.freeze(None, ["b.*"]).values == {"b.x": "b.x"}
    assert contexts.freeze([], ["*"]).values == {}
    assert contexts.freeze(["*"], ["*"]).versions == {"a.x": 1, "b.x": 3, "secret": 4}
    assert contexts.freeze(["*"], ["*"]).version == 5


def test_a_value_for_this_run_only_hides_the_stores_and_obeys_the_scope(contexts: ContextStore) -> None:
    """It has no version, since the store has no such entry."""
    contexts.set("a", 1, "ann", "t")
    contexts.set("b", 1, "ann", "t")

    snapshot = contexts.freeze(["a", "c"], ["*"], {"a": 2, "c": 3, "d": 4})

    assert snapshot.values == {"a": 2, "c": 3}
    assert snapshot.versions == {}
    assert contexts.get("c") is None


def test_a_merge_writes_what_changed_with_the_name_of_its_writer(database: Database, contexts: ContextStore) -> None:
    """Who is the step that wrote, or else the recipe."""
    contexts.set("same", 1, "ann", "t1")
    contexts.set("old", 1, "ann", "t2")
    snapshot = contexts.freeze(None, ["*"])

    done = merge(
        database,
        contexts,
        snapshot,
        Changes(set={"same": 1, "new": [1.0]}, deleted=("old", "never"), writers={"new": "load"}),
    )

    assert done == Merge(status="merged", version=4)
    assert [(e.key, e.deleted, e.who, e.run_id) for e in contexts.history(limit=2)] == [
        ("old", True, "recipe", "r1"),
        ("new", False, "load", "r1"),
    ]


def test_a_conflict_writes_nothing_at_all(database: Database, contexts: ContextStore) -> None:
    """Also the keys that nobody else touched stay as they were."""
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("a", "theirs", "bob", "t2")

    done = merge(database, contexts, snapshot, Changes(set={"a": "ours", "b": 1}, writers={"a": "load"}))

    assert done.status == "conflict"
    (conflict,) = done.conflicts
    assert (conflict.key, conflict.ours, conflict.theirs) == ("a", "ours", "theirs")
    assert (conflict.our_writer, conflict.their_writer, conflict.their_run_id) == ("load", "bob", None)
    assert contexts.version() == 1
    assert contexts.get("b") is None


def test_the_rule_theirs_says_which_changes_it_dropped(database: Database, contexts: ContextStore) -> None:
    """A change that gave way must not vanish without a word."""
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("a", "theirs", "bob", "t2")

    done = merge(database, contexts, snapshot, Changes(set={"a": "ours", "b": 1}), MergeRule(on_conflict="theirs"))

    assert done == Merge(status="merged", version=2, dropped=("a",))
    assert {e.key: e.value for e in contexts.list()} == {"a": "theirs", "b": 1}


def by_key(**rules: str) -> MergeRule:
    return MergeRule.model_validate({"rules": [{"keys": [key], "on_conflict": how} for key, how in rules.items()]})


def test_two_that_count_from_the_same_value_are_both_counted(database: Database, contexts: ContextStore) -> None:
    """Both say 6; the rule knows that each added one."""
    contexts.set("count", 5, "ann", "t1")
    snapshot = contexts.freeze(None, ["*"])
    merge(database, contexts, snapshot, Changes(set={"count": 6}), by_key(count="add"))

    done = merge(database, contexts, snapshot, Changes(set={"count": 6, "b": 1}), by_key(count="add"))

    assert (done.status, done.combined, done.dropped) == ("merged", ("count",), ())
    assert {e.key: e.value for e in contexts.list()} == {"b": 1, "count": 7}
    assert [entry.value for entry in contexts.history("count")] == [7, 6, 5]


def test_what_is_combined_to_what_is_there_makes_no_entry(database: Database, contexts: ContextStore) -> None:
    """The history is of changes."""
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("best", 9, "bob", "t2")

    done = merge(database, contexts, snapshot, Changes(set={"best": 4}), by_key(best="max"))

    assert (done.status, done.version, done.combined) == ("merged", 1, ("best",))


def test_a_rule_that_does_not_fit_is_a_conflict_that_says_why(database: Database, contexts: ContextStore) -> None:
    """Nothing else of the run is merged either."""
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("count", "many", "bob", "t2")

    done = merge(database, contexts, snapshot, Changes(set={"b": 1, "count": 1}), by_key(count="add"))

    assert [(one.key, one.why) for one in done.conflicts] == [("count", "add: theirs is a text, not a number")]
    assert (done.combined, contexts.get("b")) == ((), None)


@pytest.mark.parametrize("before", ["set", "deleted", "never set"])
def test_what_a_run_was_not_shown_it_cannot_have_added_to(
    database: Database, contexts: ContextStore, before: str
) -> None:
    """A key that was not there at the snapshot is one that it saw: as nothing."""
    if before != "never set":
        contexts.set("count", 5, "ann", "t1")
    if before == "deleted":
        contexts.delete("count", "ann", "t1")
    snapshot = contexts.freeze(["other"], ["*"])
    contexts.set("count", 7, "bob", "t2")

    done = merge(database, contexts, snapshot, Changes(set={"count": 1}), by_key(count="add"))

    if before == "set":
        assert [one.why for one in done.conflicts] == ["add: the run was not shown what was there"]
    else:
        assert contexts.get("count") == contexts.history("count")[0]
        assert contexts.history("count")[0].value == 8


def test_what_has_become_too_large_is_not_kept(database: Database, contexts: ContextStore) -> None:
    """Each of both could be; the largest integer that JSON carries everywhere is 2**53."""
    contexts.set("count", 0, "ann", "t1")
    snapshot = contexts.freeze(None, ["*"])
    contexts.set("count", 2**53, "bob", "t2")

    (conflict,) = merge(database, contexts, snapshot, Changes(set={"count": 2**53}), by_key(count="add")).conflicts

    assert conflict.why.startswith("add: the value of the context key 'count' cannot be kept")


@pytest.mark.parametrize(("other", "rerun"), [("rerun", True), ("fail", False)])
def test_a_run_is_run_again_where_every_conflict_is_one_for_that(
    database: Database, contexts: ContextStore, other: str, *, rerun: bool
) -> None:
    """One that is not would only fail again."""
    snapshot = contexts.freeze(None, ["*"])
    for key in "ab":
        contexts.set(key, 0, "bob", "t2")

    done = merge(database, contexts, snapshot, Changes(set={"a": 1, "b": 1}), by_key(a="rerun", b=other))

    assert (done.status, len(done.conflicts), done.rerun) == ("conflict", 2, rerun)


def test_no_changes_are_no_merge(database: Database, contexts: ContextStore) -> None:
    """Status none, and no version is claimed."""
    assert merge(database, contexts, contexts.freeze(None, ["*"]), Changes()) == Merge()


def test_a_merge_with_a_value_that_cannot_be_kept_writes_nothing(database: Database, contexts: ContextStore) -> None:
    """The channel checks values too; the store trusts nobody."""
    changes = Changes(set={"a": 1, "b": float("nan")})

    with pytest.raises(ContextError, match="the value of the context key 'b' cannot be kept"):
        merge(database, contexts, contexts.freeze(None, ["*"]), changes)

    assert contexts.list() == ()


def test_a_merge_of_many_keys_is_one(database: Database, contexts: ContextStore) -> None:
    """More keys than one query takes."""
    changes = Changes(set={f"k{i}": i for i in range(1100)})

    assert merge(database, contexts, contexts.freeze(None, ["*"]), changes).version == 1100
    assert merge(database, contexts, contexts.freeze(None, ["*"]), changes).version == 1100
    assert len(contexts.list()) == 1100

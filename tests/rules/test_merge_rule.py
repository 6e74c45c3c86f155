"""The three-way merge, against a model that is simple enough to be believed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isolation.model.changes import Changes, Entry
from isolation.model.policy import KeyRule, MergeRule
from isolation.model.snapshot import Snapshot
from isolation.rules.merge import MergePlan, Since, merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation.model.policy import OnConflict

GONE = "(gone)"
KEYS = ("a", "b", "c")
VALUES = st.sampled_from([None, 0, 1, 1.0, True, False, "1", [1], [1.0], {}, {"x": 1}])
CONTENT = st.one_of(st.just(GONE), VALUES)
WRITES = st.lists(st.tuples(st.sampled_from(KEYS), CONTENT), max_size=6)
CHANGES = st.dictionaries(st.sampled_from(KEYS), CONTENT)
RULES: tuple[Literal["fail", "ours", "theirs"], ...] = ("fail", "ours", "theirs")


def said(value: object) -> str:
    return json.dumps(value)


class Situation:
    """What was there at the snapshot, what others wrote since, and what we changed."""

    def __init__(
        self, before: Sequence[tuple[str, Any]], since: Sequence[tuple[str, Any]], ours: dict[str, Any]
    ) -> None:
        self.entries: dict[str, Entry] = {}
        for key, value in before:
            self._write(key, value, "before")
        self.snapshot = Snapshot(
            version=self._version(),
            values={key: entry.value for key, entry in self.entries.items() if not entry.deleted},
            versions={key: entry.version for key, entry in self.entries.items() if not entry.deleted},
        )
        for key, value in since:
            self._write(key, value, "since")
        self.touched = {key for key, _ in since}
        self.ours = ours
        self.changes = Changes(
            set={key: value for key, value in ours.items() if value != GONE},
            deleted=tuple(key for key, value in ours.items() if value == GONE),
            writers=dict.fromkeys(ours, "step"),
        )

    def now(self) -> dict[str, str]:
        """Say what the context holds."""
        return {key: said(entry.value) for key, entry in self.entries.items() if not entry.deleted}

    def after(self, plan: MergePlan) -> dict[str, str]:
        """Say what it holds once the plan is carried out."""
        content = self.now()
        for write in plan.writes:
            content.pop(write.key, None)
            if not write.deleted:
                content[write.key] = said(write.value)
        return content

    def merge(self, rule: Literal["fail", "ours", "theirs"]) -> MergePlan:
        """Plan the merge."""
        return merge(self.snapshot, Since(current=self.entries), self.changes, MergeRule(on_conflict=rule))

    def _version(self) -> int:
        return max((entry.version for entry in self.entries.values()), default=0)

    def _write(self, key: str, value: Any, who: str) -> None:  # noqa: ANN401 - any JSON, or GONE
        deleted = value == GONE
        self.entries[key] = Entry(
            version=self._version() + 1,
            key=key,
            value=None if deleted else value,
            deleted=deleted,
            who=who,
            run_id=None,
            at="",
        )


def model(situation: Situation, rule: str) -> tuple[dict[str, str], set[str]]:
    """Say key by key what should come out, and what should be in conflict."""
    content, conflicts = situation.now(), set()
    for key, value in situation.ours.items():
        wanted = None if value == GONE else said(value)
        if key in situation.touched and content.get(key) != wanted:
            conflicts.add(key)
            if rule != "ours":
                continue
        content.pop(key, None)
        if wanted is not None:
            content[key] = wanted
    if conflicts and rule == "fail":
        return situation.now(), conflicts
    return content, conflicts


@given(WRITES, WRITES, CHANGES, st.sampled_from(RULES))
@example([("a", 1)], [("a", True)], {"a": 1.0}, "fail")
def test_a_merge_does_what_the_model_says(
    before: list[tuple[str, Any]],
    since: list[tuple[str, Any]],
    ours: dict[str, Any],
    rule: Literal["fail", "ours", "theirs"],
) -> None:
    """Every rule, any history: the same content, the same conflicts."""
    situation = Situation(before, since, ours)

    plan = situation.merge(rule)

    content, conflicts = model(situation, rule)
    assert situation.after(plan) == content
    assert {conflict.key for conflict in plan.conflicts} == (conflicts if rule == "fail" else set())
    assert set(plan.dropped) == (conflicts if rule == "theirs" else set())
    assert not (plan.writes and plan.conflicts)


@given(WRITES, WRITES, CHANGES, st.sampled_from(RULES))
def test_a_write_that_would_change_nothing_is_not_made(
    before: list[tuple[str, Any]],
    since: list[tuple[str, Any]],
    ours: dict[str, Any],
    rule: Literal["fail", "ours", "theirs"],
) -> None:
    """The history is of changes; a recipe that runs each minute must not fill it."""
    situation = Situation(before, since, ours)

    for write in situation.merge(rule).writes:
        assert situation.now().get(write.key) != (None if write.deleted else said(write.value))


def test_a_conflict_names_both_values_and_both_writers() -> None:
    """Whoever reads of it must be able to decide whose value is right."""
    situation = Situation([("a", 1)], [("a", 2)], {"a": 3})

    (conflict,) = situation.merge("fail").conflicts

    assert (conflict.key, conflict.ours, conflict.theirs) == ("a", 3, 2)
    assert (conflict.our_writer, conflict.their_writer) == ("step", "since")


def test_a_value_given_for_this_run_only_is_no_conflict_with_an_old_entry() -> None:
    """With --set a snapshot has a value without a version; the store's entry is older all the same."""
    situation = Situation([("a", 1)], [], {"a": 3})
    snapshot = Snapshot(version=situation.snapshot.version, values={"a": 2})

    plan = merge(snapshot, Since(current=situation.entries), situation.changes, MergeRule())

    assert [write.value for write in plan.writes] == [3]


def test_a_value_given_for_this_run_only_was_not_read_in_an_old_entry() -> None:
    """As above: nobody else changed it since."""
    situation = Situation([("a", 1)], [], {"b": 3})
    snapshot = Snapshot(version=situation.snapshot.version, values={"a": 2})
    since = Since(current=situation.entries, read={"a": "reader"})

    assert merge(snapshot, since, situation.changes, MergeRule(strict=True)).conflicts == ()


@pytest.mark.parametrize("rule", RULES)
def test_a_key_that_both_deleted_is_no_conflict(rule: Literal["fail", "ours", "theirs"]) -> None:
    """They agree."""
    assert Situation([("a", 1)], [("a", GONE)], {"a": GONE}).merge(rule) == MergePlan()


def test_two_runs_that_write_the_same_value_agree_even_if_each_meant_to_add_one() -> None:
    """
    A limit of this rule, not a virtue: both read 5, both write 6, and one addition is lost without a conflict.

    Values say what to hold, not what was meant. Whoever counts needs a rule that adds, or one that minds what was read.
    """
    assert Situation([("total", 5)], [("total", 6)], {"total": 6}).merge("fail") == MergePlan()


def strictly(situation: Situation, how: OnConflict, *read: str) -> tuple[MergePlan, dict[str, str]]:
    """Plan a merge that minds what was read; returns what the context holds afterwards, too."""
    since = Since(current=situation.entries, read=dict.fromkeys(read, "reader"))
    rule = MergeRule(strict=True, rules=(KeyRule(keys=("*",), on_conflict=how),))
    plan = merge(situation.snapshot, since, situation.changes, rule)
    return plan, situation.after(plan)


@pytest.mark.parametrize(("before", "since"), [(1, 2), (1, GONE), (GONE, 2), (GONE, None), (1, True)])
def test_what_was_only_read_and_is_another_now_is_a_conflict(before: object, since: object) -> None:
    """What the run wrote elsewhere may come from it; that a key was not there is something to have read."""
    situation = Situation([("a", before)], [("a", since)], {"b": 3})

    plan, after = strictly(situation, "fail", "a")

    (conflict,) = plan.conflicts
    assert (conflict.key, conflict.read, conflict.our_writer, conflict.their_writer) == ("a", True, "reader", "since")
    assert conflict.ours == (None if before == GONE else before)
    assert conflict.theirs == (None if since == GONE else since)
    assert conflict.missing == ("ours" if before == GONE else "theirs" if since == GONE else "")
    assert after == situation.now()


@pytest.mark.parametrize(
    ("before", "since"), [([("a", 1)], []), ([("a", 1)], [("a", 2), ("a", 1)]), ([], [("a", 1), ("a", GONE)])]
)
def test_what_was_read_and_is_so_still_is_no_conflict(
    before: list[tuple[str, Any]], since: list[tuple[str, Any]]
) -> None:
    """However often it was something else in between: the run would see the same, and do the same."""
    plan, after = strictly(Situation(before, since, {"b": 3}), "fail", "a")

    assert plan.conflicts == ()
    assert after["b"] == "3"


def test_two_that_count_to_the_same_are_in_conflict_if_they_looked() -> None:
    """The limit above, lifted: the second would have counted on."""
    situation = Situation([("total", 5)], [("total", 6)], {"total": 6})

    ((conflict,), (blind, _)) = strictly(situation, "fail", "total")[0].conflicts, strictly(situation, "fail")

    assert (conflict.read, conflict.ours, conflict.theirs) == (True, 5, 6)
    assert blind == MergePlan()


def test_a_conflict_of_a_write_stays_one_where_the_key_was_read_too() -> None:
    """What both wanted says more than what one of both saw."""
    situation = Situation([("a", 1)], [("a", 2)], {"a": 3})

    (conflict,) = strictly(situation, "fail", "a")[0].conflicts

    assert (conflict.read, conflict.ours, conflict.theirs) == (False, 3, 2)


@pytest.mark.parametrize(("how", "after"), [("ours", "3"), ("theirs", "2"), ("add", "4"), ("max", "3")])
def test_rules_that_let_both_stand_do_not_mind_what_was_read(how: OnConflict, after: str) -> None:
    """Neither of a key that the run changed, nor of one that it only read."""
    situation = Situation([("a", 1), ("b", 1)], [("a", 2), ("b", 2)], {"a": 3})

    plan, content = strictly(situation, how, "a", "b")

    assert (plan.conflicts, content) == ((), {"a": after, "b": "2"})


def test_what_was_read_is_run_again_where_the_rule_says_so() -> None:
    """With the other words, it is as with any conflict."""
    situation = Situation([("a", 1)], [("a", 2)], {"b": 3})

    assert strictly(situation, "rerun", "a")[0].rerun
    assert not strictly(situation, "fail", "a")[0].rerun


@given(WRITES, WRITES, CHANGES, st.sets(st.sampled_from(KEYS)), st.sampled_from(RULES))
def test_strict_adds_conflicts_of_what_was_read_and_changes_nothing_else(
    before: list[tuple[str, Any]], since: list[tuple[str, Any]], ours: dict[str, Any], read: set[str], how: OnConflict
) -> None:
    """Whatever the rule: where nothing that was read has another value now, both come to the same."""
    situation = Situation(before, since, ours)
    seen = {key: said(value) for key, value in situation.snapshot.values.items()}
    stale = {key for key in read if how == "fail" and situation.now().get(key) != seen.get(key)}
    plain = merge(situation.snapshot, Since(current=situation.entries), situation.changes, MergeRule(on_conflict=how))

    plan, _ = strictly(situation, how, *read)

    assert {conflict.key for conflict in plan.conflicts} == {one.key for one in plain.conflicts} | stale
    if not stale:
        assert plan == plain


@pytest.mark.parametrize("how", ["ours", "theirs", "add", "append", "union", "max", "min", "deep"])
def test_a_strict_policy_that_minds_nothing_is_refused(how: OnConflict) -> None:
    """Whoever writes it believes to be safe."""
    with pytest.raises(ValueError, match="no key has one of both"):
        MergeRule(strict=True, on_conflict=how)

    assert MergeRule(strict=True, on_conflict=how, rules=(KeyRule(keys=("a",), on_conflict="rerun"),)).strict

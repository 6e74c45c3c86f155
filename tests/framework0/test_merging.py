"""What becomes of a run's changes where the application went on with its context meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.changes import Changes, Merge
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.policy import MergeRule
from isolation.model.run import Attempt, Digests, Result, StepReport
from isolation.model.usage import Usage
from orchestrator.context import Context
from orchestrator.homes import home_of, merge_into

if TYPE_CHECKING:
    from pydantic import JsonValue

FAIL = MergeRule()


def ended(*, deleted: tuple[str, ...] = (), steps: tuple[StepReport, ...] = (), **changed: JsonValue) -> Result:
    changes = Changes(set=changed, deleted=deleted, writers=dict.fromkeys((*changed, *deleted), "step"))
    attempt = Attempt(number=1, outcome=Outcome.SUCCEEDED, cause="", started_at="", steps=steps)
    return Result(
        run_id="r",
        recipe="recipe",
        outcome=Outcome.SUCCEEDED,
        attempts=(attempt,),
        usage=Usage(),
        changes=changes,
        merge=Merge(),
        errors=(),
        artifacts=(),
        digests=Digests(package="", snapshot="", policy="", image=""),
        engine=None,
    )


@pytest.fixture
def context() -> Context:
    context = Context()
    context.set("a", 1, who="application")
    context.set("b", 1, who="application")
    return context


def rule(**more: Any) -> MergeRule:  # noqa: ANN401 - as a policy has it
    return MergeRule.model_validate(more)


def test_changes_and_deletions_are_written_as_whose_they_are(context: Context) -> None:
    """The history tells."""
    merge = merge_into(context, home_of(context).freeze({}), ended(a=2, c=3, deleted=("b",)), FAIL, set())

    assert merge.status == "merged"
    assert context.to_dict() == {"a": 2, "c": 3}
    assert [entry["who"] for entry in context.get_history()[2:]] == ["step"] * 3


def test_what_a_context_was_made_with_is_changed_and_deleted_too() -> None:
    """Nobody wrote it, so that it is in no history, and it is there all the same."""
    context = Context({"a": 1, "b": 1})
    merge_into(context, home_of(context).freeze({}), ended(a=2, deleted=("b",)), FAIL, set())

    assert context.to_dict() == {"a": 2}


def test_a_key_that_the_application_changed_meanwhile_is_a_conflict(context: Context) -> None:
    """All of the run's changes are left out then, and both writers are named."""
    frozen = home_of(context).freeze({})
    context.set("a", 7, who="another thread")
    merge = merge_into(context, frozen, ended(a=2, b=2), FAIL, set())

    (conflict,) = merge.conflicts
    assert (merge.status, conflict.key, conflict.ours, conflict.theirs) == ("conflict", "a", 2, 7)
    assert (conflict.our_writer, conflict.their_writer) == ("step", "another thread")
    assert context.to_dict() == {"a": 7, "b": 1}


def test_a_key_that_the_application_deleted_meanwhile_is_one_too(context: Context) -> None:
    """What it set again to what it was before is none: nobody could tell."""
    frozen = home_of(context).freeze({})
    context.delete("a")
    context.set("b", 9)
    context.set("b", 2)

    merge = merge_into(context, frozen, ended(a=2, b=2), FAIL, set())
    assert [(one.key, one.missing) for one in merge.conflicts] == [("a", "theirs")]


def test_the_policys_rule_decides_who_wins(context: Context) -> None:
    """Per key, as for a context that is kept."""
    frozen = home_of(context).freeze({})
    context.set("a", 5)
    context.set("b", 5)
    by_key = rule(rules=[{"keys": ["a"], "on_conflict": "add"}], on_conflict="theirs")

    merge = merge_into(context, frozen, ended(a=3, b=3), by_key, set())
    assert (merge.combined, merge.dropped) == (("a",), ("b",))
    assert context.to_dict() == {"a": 7, "b": 5}


@pytest.mark.parametrize("read", [{"keys_read": ("b",)}, {"read_all": True}])
def test_where_the_policy_is_strict_what_was_read_counts(context: Context, read: dict[str, Any]) -> None:
    """The run decided on something that is not so any more."""
    frozen = home_of(context).freeze({})
    context.set("b", 5)
    result = ended(steps=(StepReport(name="step", outcome=StepOutcome.SUCCEEDED, **read),), a=2)

    assert merge_into(context, frozen, result, rule(strict=True), set()).conflicts[0].key == "b"
    assert merge_into(context, frozen, result, FAIL, set()).status == "merged"


def test_writes_that_stand_in_no_way_are_none_of_others(context: Context) -> None:
    """So the runs of one batch come out as if each had begun when the one before had ended."""
    frozen, made = home_of(context).freeze({}), set[int]()

    assert merge_into(context, frozen, ended(a=2), FAIL, made).status == "merged"
    assert merge_into(context, frozen, ended(a=3), FAIL, made).status == "merged"
    assert merge_into(context, frozen, ended(a=4), FAIL, set()).status == "conflict"
    assert context.get("a") == 3

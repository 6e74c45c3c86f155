"""Whether another attempt follows, and when."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from isolation.model.outcome import Outcome
from isolation.model.policy import Policy, RetryRule
from isolation.model.recipe import Recipe
from isolation.rules.retry import escalated, is_wanted, next_delay, rule_for, widest

FAILED, LOST = Outcome.FAILED, Outcome.LOST
POLICY = Policy(name="test", retry={FAILED: RetryRule(attempts=3), LOST: RetryRule(attempts=4)})


def recipe(retry_attempts: int) -> Recipe:
    step = {"name": "a", "module": "m", "function": "f"}
    execution = {"retry_attempts": retry_attempts}
    return Recipe.model_validate({"name": "r", "execution": execution, "steps": [step]})


@pytest.mark.parametrize(("asked", "attempts"), [(0, 1), (1, 2), (2, 3), (3, 3), (100, 3)])
def test_a_recipe_may_ask_for_less_than_its_policy_allows(asked: int, attempts: int) -> None:
    """Never for more: who pays for the host decides."""
    assert rule_for(FAILED, POLICY, recipe(asked)).attempts == attempts


def test_a_recipes_wish_is_about_its_own_failures_alone() -> None:
    """A lost engine is not the recipe's matter."""
    assert rule_for(LOST, POLICY, recipe(0)).attempts == 4


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome not in POLICY.retry])
def test_an_outcome_without_a_rule_is_not_retried(outcome: Outcome) -> None:
    """One attempt is the default for every end there is."""
    assert next_delay(rule_for(outcome, POLICY, recipe(100)), [outcome]) is None


def test_success_is_never_retried() -> None:
    """Whatever a rule says."""
    assert next_delay(RetryRule(attempts=9), [Outcome.SUCCEEDED]) is None
    assert next_delay(RetryRule(attempts=9), []) is None


def test_attempts_are_counted_for_each_outcome() -> None:
    """A lost engine does not use up what a failing recipe is given."""
    rule = RetryRule(attempts=2)

    assert next_delay(rule, [LOST, LOST, FAILED]) == 0
    assert next_delay(rule, [FAILED, LOST, FAILED]) is None


def test_the_wait_grows_up_to_the_longest() -> None:
    """And the largest numbers that a policy may hold do not overflow."""
    rule = RetryRule.model_validate({"attempts": 100, "wait": "1s", "backoff": 10.0, "longest_wait": "1h"})

    waits = [next_delay(rule, [LOST] * count) for count in (1, 2, 3, 4, 5, 99)]

    assert waits == [1, 10, 100, 1000, 3600, 3600]


def test_a_wait_is_spread_by_at_most_its_jitter() -> None:
    """Many that failed together must not come back together."""
    rule = RetryRule.model_validate({"attempts": 9, "wait": "1s", "jitter": "500ms"})

    waits = [next_delay(rule, [LOST]) or 0 for _ in range(50)]

    assert all(1 <= wait <= 1.5 for wait in waits)
    assert len({*waits}) > 1


def raising(limits: dict[str, Any] | None = None, **retry: dict[str, Any]) -> Policy:
    return Policy.model_validate({"name": "test", "limits": limits or {}, "retry": retry})


RAISES = {
    "memory": (
        raising({"memory": "32MiB"}, out_of_memory={"attempts": 5, "memory": "x2", "up_to": "100MiB"}),
        Outcome.OUT_OF_MEMORY,
        "memory_bytes",
        [32 * 2**20, 64 * 2**20, 100 * 2**20, 100 * 2**20],
    ),
    "wall": (
        raising({"wall": 10}, timed_out={"attempts": 5, "wall": "x1.5", "up_to": "30s"}),
        Outcome.TIMED_OUT,
        "wall_s",
        [10, 15, 22.5, 30],
    ),
    "pids": (
        raising({"pids": 10}, too_many_processes={"attempts": 5, "pids": "x3", "up_to": 40}),
        Outcome.TOO_MANY_PROCESSES,
        "pids",
        [10, 30, 40, 40],
    ),
    "tmp": (
        raising({"tmp": "1MiB"}, disk_full={"attempts": 5, "tmp": "x10", "up_to": "5MiB"}),
        Outcome.DISK_FULL,
        "tmp_bytes",
        [2**20, 5 * 2**20, 5 * 2**20, 5 * 2**20],
    ),
}


@pytest.mark.parametrize(("policy", "outcome", "field", "values"), RAISES.values(), ids=RAISES)
def test_a_limit_that_was_met_is_raised_up_to_its_end(
    policy: Policy, outcome: Outcome, field: str, values: list[float]
) -> None:
    """Once for each attempt that met it, whatever else happened between; and a policy comes back from the record."""
    recorded = Policy.read(policy.content())

    found = [getattr(escalated(recorded, [LOST, *[outcome] * met]).limits, field) for met in range(4)]

    assert found == values
    assert getattr(widest(recorded).limits, field) == values[-1]
    assert escalated(recorded, [LOST]) == policy


def test_the_time_of_a_step_is_raised_with_that_of_the_run() -> None:
    """Else the one would be no use without the other; neither beyond the end, and neither is ever lowered."""
    policy = raising({"wall": 10, "step_wall": 40}, timed_out={"attempts": 5, "wall": "x2", "up_to": "30s"})

    limits = escalated(policy, [Outcome.TIMED_OUT]).limits

    assert (limits.wall_s, limits.step_wall_s) == (20, 40)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no factor": ({"out_of_memory": {"memory": 2, "up_to": "1GiB"}}, "2 is no factor; write one such as x2"),
    "no end": ({"out_of_memory": {"memory": "x2"}}, "memory is raised without an end; say `up_to`"),
    "an end of nothing": ({"lost": {"up_to": "1GiB"}}, "`up_to` says how far a limit is raised, and none is"),
    "an end of another kind": ({"out_of_memory": {"memory": "x2", "up_to": "10s"}}, "'10s'"),
    "two": ({"timed_out": {"memory": "x2", "wall": "x2", "up_to": "1h"}}, "only one limit can be raised"),
    "another limit": ({"timed_out": {"memory": "x2", "up_to": "1GiB"}}, "timed_out cannot raise memory"),
    "below": ({"out_of_memory": {"memory": "x2", "up_to": "32MiB"}}, "up_to of out_of_memory is below limits.memory"),
    "lower": ({"out_of_memory": {"memory": "x0.5", "up_to": "1GiB"}}, "greater than 1"),
    "errors of none": ({"lost": {"only": ["ValueError"]}}, "lost has no errors to choose from"),
}


@pytest.mark.parametrize(("retry", "said"), WRONG.values(), ids=WRONG)
def test_a_retry_that_makes_no_sense_is_refused(retry: dict[str, Any], said: str) -> None:
    """When the policy is read, and not when the third attempt is made."""
    with pytest.raises(ValidationError) as told:
        Policy.model_validate({"name": "test", "retry": retry})

    assert said in str(told.value)


@pytest.mark.parametrize(
    ("errors", "wanted"),
    [
        (["TimeoutError"], True),
        (["requests.exceptions.ReadTimeout"], True),
        (["requests.exceptions.HTTPError"], False),
        (["ValueError"], False),
        (["TimeoutError", "ValueError"], False),
        ([], False),
    ],
)
def test_errors_are_chosen_by_their_types(errors: list[str], *, wanted: bool) -> None:
    """Every error must be one of those that may go away by themselves."""
    rule = RetryRule(attempts=3, only=("TimeoutError", "requests.*"), never=("requests.exceptions.HTTPError",))

    assert is_wanted(rule, errors) is wanted
    assert is_wanted(RetryRule(attempts=3), errors)

"""Whether another attempt follows, and when."""

from __future__ import annotations

import pytest

from isolation.model.outcome import Outcome
from isolation.model.policy import Policy, RetryRule
from isolation.model.recipe import Recipe
from isolation.rules.retry import next_delay, rule_for

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

"""Whether another attempt follows, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.model.outcome import Outcome
from isolation.model.policy import RetryRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe


def rule_for(outcome: Outcome, policy: Policy, recipe: Recipe) -> RetryRule:
    """
    Return the rule for an outcome: the policy's, or a single attempt.

    A recipe's ``retry_attempts`` is about its own failures, and can only ask for less than the policy allows.
    """
    rule = policy.retry.get(outcome, RetryRule())
    if outcome is Outcome.FAILED and 1 + recipe.execution.retry_attempts < rule.attempts:
        return rule.model_copy(update={"attempts": 1 + recipe.execution.retry_attempts})
    return rule


def next_delay(rule: RetryRule, outcomes: Sequence[Outcome]) -> float | None:
    """
    Return the seconds to wait before the next attempt, or None if the last was the last.

    ``outcomes`` are those of all attempts so far. Attempts are counted per outcome, so that a lost engine does
    not use up what a failing recipe is given. The wait grows by ``backoff`` up to ``longest_wait``.

    >>> next_delay(RetryRule(attempts=3, wait="2s", backoff=3), [Outcome.LOST])
    2.0
    >>> next_delay(RetryRule(attempts=3, wait="2s", backoff=3), [Outcome.LOST] * 2)
    6.0
    >>> next_delay(RetryRule(attempts=3, wait="2s", backoff=3), [Outcome.LOST] * 3)
    """
    if not outcomes or outcomes[-1] is Outcome.SUCCEEDED:
        return None
    same = sum(1 for outcome in outcomes if outcome is outcomes[-1])
    if same >= rule.attempts:
        return None
    return min(rule.wait_s * rule.backoff ** (same - 1), rule.longest_wait_s)

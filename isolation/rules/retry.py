"""Whether another attempt follows, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.model.outcome import Outcome
from isolation.model.policy import RetryRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe


_RERUN = RetryRule.model_validate({"attempts": 5, "wait": "50ms"})
"""For policies that want conflicts run again, and do not say how often."""


def rule_for(outcome: Outcome, policy: Policy, recipe: Recipe, *, rerun: bool = False) -> RetryRule:
    """
    Return the rule for an outcome: the policy's, or a single attempt; ``rerun``: of a conflict that is to be run again.

    A recipe's ``retry_attempts`` is about its own failures, and can only ask for less than the policy allows.
    """
    rule = policy.retry.get(outcome, _RERUN if rerun else RetryRule())
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
    if rule.wait_s == 0:
        return 0.0
    return _wait_s(rule, same)


def _wait_s(rule: RetryRule, attempts: int) -> float:
    from tenacity import RetryCallState, Retrying, wait_exponential  # noqa: PLC0415 - slow to import, rarely needed

    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempts
    wait = wait_exponential(multiplier=rule.wait_s, exp_base=rule.backoff, max=rule.longest_wait_s)
    return float(wait(state))

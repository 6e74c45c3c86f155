"""Whether another attempt follows, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.model.outcome import Outcome
from isolation.model.policy import RetryRule
from isolation.rules.scope import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def is_wanted(rule: RetryRule, errors: Iterable[str]) -> bool:
    """
    Tell whether errors of these types are tried again; an attempt without a known one is, unless ``only`` says which.

    >>> rule = RetryRule(only=["TimeoutError", "requests.*"], never=["requests.HTTPError"])
    >>> [is_wanted(rule, [name]) for name in ("TimeoutError", "requests.Timeout", "requests.HTTPError", "ValueError")]
    [True, True, False, False]
    """
    found = [*errors]
    if any(matches(name, rule.never) for name in found):
        return False
    return not rule.only or (bool(found) and all(matches(name, rule.only) for name in found))


def escalated(policy: Policy, outcomes: Iterable[Outcome]) -> Policy:
    """
    Return the policy of the attempt that follows those: each limit that one of them met is raised once for it.

    >>> from isolation.model.policy import Policy
    >>> rule = {"out_of_memory": {"attempts": 3, "memory": "x2", "up_to": "100MiB"}}
    >>> policy = Policy.model_validate({"name": "p", "limits": {"memory": "32MiB"}, "retry": rule})
    >>> [escalated(policy, [Outcome.OUT_OF_MEMORY] * met).limits.memory_bytes // 2**20 for met in range(4)]
    [32, 64, 100, 100]
    """
    limits: dict[str, float] = {}
    met = [*outcomes]
    for outcome, rule in policy.retry.items():
        raised, times = rule.raises(), met.count(outcome)
        if raised is not None and times:
            field, factor, up_to = raised
            for name in ("wall_s", "step_wall_s") if field == "wall_s" else (field,):
                before = getattr(policy.limits, name)
                limits[name] = type(before)(max(before, min(up_to, before * factor**times)))
    return policy.model_copy(update={"limits": policy.limits.model_copy(update=limits)}) if limits else policy


def widest(policy: Policy) -> Policy:
    """Return the policy with all that its retries may raise raised as far as they may."""
    most = [outcome for outcome, rule in policy.retry.items() for _ in range(rule.attempts - 1)]
    return escalated(policy, most)


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
    if rule.wait_s == rule.jitter_s == 0:
        return 0.0
    return _wait_s(rule, same)


def _wait_s(rule: RetryRule, attempts: int) -> float:
    from tenacity import RetryCallState, Retrying, wait_exponential, wait_random  # noqa: PLC0415 - slow to import, rarely needed

    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempts
    wait = wait_exponential(multiplier=rule.wait_s, exp_base=rule.backoff, max=rule.longest_wait_s)
    return float((wait + wait_random(0, rule.jitter_s))(state))

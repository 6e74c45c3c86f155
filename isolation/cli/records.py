"""Reads what a run's record points to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isolation.model.policy import Policy
    from isolation.model.run import Result
    from isolation.stores import Stores


def policy_of(stores: Stores, result: Result) -> Policy | None:
    """Return the policy that a run's last attempt had; None if it is not kept any more."""
    if not stores.blobs.has(result.digests.policy):
        return None
    from isolation.model.policy import Policy  # noqa: PLC0415 - heavy
    from isolation.rules.retry import escalated  # noqa: PLC0415 - as above

    policy = Policy.read(stores.blobs.get(result.digests.policy))
    return escalated(policy, (attempt.outcome for attempt in result.attempts[:-1]))

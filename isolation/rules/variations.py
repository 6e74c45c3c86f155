"""
What is varied when a recipe is verified, and in which run.

=====  ==========================================================================
run    what is varied
=====  ==========================================================================
1      nothing: what the others are compared with
2      nothing: what moves here moves by itself (with two runs only: everything)
3 …    all variations, spread over the runs that are left, in their order
…      where runs are left, each variation alone again, with another value
=====  ==========================================================================

So with eight runs each is alone, and with five each has one beside it that finds the same kind of mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isolation.model.determinism import Determinism
    from isolation.model.policy import Policy
    from isolation.model.verification import Varied

_ZONES = ("Pacific/Kiritimati", "America/St_Johns", "Asia/Kolkata")
_MOMENTS = ("2032-02-29T23:30:00Z", "1999-12-31T11:00:00Z", "2011-07-03T05:00:00Z")


def schedule(times: int, names: Sequence[str]) -> list[tuple[Varied, int]]:
    """
    Return, for each run, what is varied and to which of its values (0, 1, ...).

    >>> [varied for varied, _ in schedule(5, ["a", "b", "c", "d", "e"])]
    [(), (), ('a', 'b'), ('c', 'd'), ('e',)]
    >>> schedule(5, ["a", "b"])
    [((), 0), ((), 0), (('a',), 0), (('b',), 0), (('a',), 1)]
    >>> schedule(2, ["a", "b"])
    [((), 0), (('a', 'b'), 0)]
    """
    still: list[tuple[Varied, int]] = [((), 0)] * min(2, max(1, times - 1))
    left = times - len(still)
    if not names:
        return still + [((), 0)] * left
    groups = min(left, len(names))
    shares = [len(names) // groups + (index < len(names) % groups) for index in range(groups)]
    starts = [sum(shares[:index]) for index in range(groups)]
    spread = [(tuple(names[start : start + share]), 0) for start, share in zip(starts, shares, strict=True)]
    again = [((names[index % len(names)],), 1 + index // len(names)) for index in range(left - groups)]
    return still + spread + again


def held_still(policy: Policy) -> Policy:
    """Return the policy with nothing left to chance, as far as it can be held."""
    held = policy.determinism
    return _with(
        policy,
        seed=0 if held.seed == "random" else held.seed,
        hash_seed=0 if held.hash_seed == "random" else held.hash_seed,
        directory_order="sorted" if held.directory_order == "as_is" else held.directory_order,
        cpu_count="limit" if held.cpu_count == "host" else held.cpu_count,
    )


def vary(policy: Policy, varied: Varied, value: int) -> Policy:
    """Return a policy that is held still, with these varied."""
    for name in varied:
        policy = VARIATIONS[name](policy, value)
    return policy


def cannot_be_varied(policy: Policy) -> dict[str, str]:
    """Say what cannot be varied under this policy, and why."""
    return {"clock": "limits.shm is not 0, and no other clock can be had then"} if policy.limits.shm_bytes else {}


def _hash_seed(policy: Policy, value: int) -> Policy:
    return _with(policy, hash_seed=_next_seed(policy.determinism.hash_seed, value))


def _directory_order(policy: Policy, _value: int) -> Policy:
    return _with(policy, directory_order="sorted" if policy.determinism.directory_order == "reversed" else "reversed")


def _time_zone(policy: Policy, value: int) -> Policy:
    return _with(policy, time_zone=_another(_ZONES, policy.determinism.time_zone, value))


def _clock(policy: Policy, value: int) -> Policy:
    held: Determinism = policy.determinism
    at = _another(_MOMENTS, held.clock_at, value)
    return _with(policy, clock="frozen" if held.clock == "frozen" else "set", clock_at=at)


def _seed(policy: Policy, value: int) -> Policy:
    return _with(policy, seed=_next_seed(policy.determinism.seed, value))


def _processors(policy: Policy, value: int) -> Policy:
    """Tell of more, and give half of the time: what runs at once meets in another order."""
    told = policy.determinism.cpus_told(policy.limits.cpus) or 1
    limits = policy.limits.model_copy(update={"cpus": max(0.01, policy.limits.cpus / 2)})
    return _with(policy.model_copy(update={"limits": limits}), cpu_count=told + 1 + value)


VARIATIONS: dict[str, Callable[[Policy, int], Policy]] = {
    "hash_seed": _hash_seed,
    "directory_order": _directory_order,
    "time_zone": _time_zone,
    "clock": _clock,
    "seed": _seed,
    "processors": _processors,
}
"""In the order in which they are spread: neighbours find the same kind of mistake."""


def _next_seed(seed: int | str, value: int) -> int:
    return (int(seed) + 1 + value) % 2**32


def _another(choices: Sequence[str], than: str, value: int) -> str:
    others = [choice for choice in choices if choice != than]
    return others[value % len(others)]


def _with(policy: Policy, **fields: object) -> Policy:
    return policy.model_copy(update={"determinism": policy.determinism.model_copy(update=fields)})

"""Who has a key, and how it goes from one run to another, in somebody's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import false, func, select, update

from isolation.errors import IdempotencyError
from isolation.model.key import Holder
from isolation.model.outcome import Outcome
from isolation.state.schema import reruns, runs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from isolation.model.key import Key
    from isolation.model.run import Digests


def holder(
    connection: Connection,
    namespace: str,
    key: str,
    digests: Digests,
    inputs_digest: str,
    *,
    again: tuple[str, str, bool] = ("", "", False),
) -> Holder | None:
    """
    Return the run that has a key, or None; IdempotencyError where it is made of something else.

    ``again`` says what it replays or reruns, and whether with a fresh context.
    """
    same = (runs.c.namespace == namespace) & (runs.c.idempotency_key == key)
    made = (runs.c.package_digest, runs.c.policy_digest, runs.c.inputs_digest)
    rerun = (func.coalesce(reruns.c.rerun_of, ""), func.coalesce(reruns.c.fresh, false()))
    query = select(runs.c.run_id, runs.c.state, runs.c.outcome, *made, runs.c.replay_of, *rerun)
    row = connection.execute(query.outerjoin_from(runs, reruns).where(same)).one_or_none()
    if row is None:
        return None
    same_made = (*row[3:6],) == (digests.package, digests.policy, inputs_digest)
    if not same_made or (*row[6:],) != again:
        differs = "which repeats another, or otherwise" if same_made else "whose recipe, policy or values differ"
        raise IdempotencyError(
            f"the key {key!r} was given to another run, {row.run_id}, {differs}",
            hint="Choose a new key for what is new.",
        )
    outcome = None if row.outcome is None else Outcome(row.outcome)
    return Holder(run_id=row.run_id, state=row.state, outcome=outcome)


def hand_over(connection: Connection, namespace: str, key: Key) -> None:
    """Take the key from the ended run that had it; IdempotencyError where any other has it. The caller writes alone."""
    here = (runs.c.namespace == namespace) & (runs.c.idempotency_key == key.text)
    ended = runs.c.state.in_(("finished", "abandoned"))
    connection.execute(update(runs).where(here, ended, runs.c.run_id == key.instead_of).values(idempotency_key=None))
    other = connection.scalar(select(runs.c.run_id).where(here))
    if other is not None:
        raise IdempotencyError(
            f"the run {other} has the key {key.text!r} by now", hint="Somebody else began the same meanwhile."
        )

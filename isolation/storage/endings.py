"""What becomes of a run that nobody carries on: it waits again, or ends with a result that no attempt of it gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from isolation.model.changes import Changes, Merge
from isolation.model.document import attempt_from_json
from isolation.model.outcome import Outcome
from isolation.model.run import Attempt, Digests, Result, StepError
from isolation.model.usage import Usage
from isolation.state.schema import attempts, runs
from isolation.storage.moves import finish, move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

summary_columns = [column for column in runs.c if column.name != "result"]


def requeue(connection: Connection, run_id: str, at: str, *, begun: bool = True) -> bool:
    """
    Put a run back that came from the queue; tells whether it waits there: one that was cancelled has ended instead.

    ``begun``: its attempt counts as begun, and so as lost.
    """
    row = connection.execute(select(*summary_columns).where(runs.c.run_id == run_id)).one()
    if row.cancelled_at is not None:
        finish(connection, cancelled(connection, row), at)
        return False
    count = row.begun if begun else row.begun - 1
    move(connection, run_id, "queued", controller_id=None, parked_at=at, due_at=None, begun=count)
    return True


def cancelled(connection: Connection, row: Row[Any]) -> Result:
    """Make the result of a run that is cancelled while nobody carries it out, before its first attempt or a later."""
    return ended(row, past_attempts(connection, row.run_id), Outcome.CANCELLED)


def ended(row: Row[Any], past: Sequence[Attempt], outcome: Outcome, errors: Sequence[StepError] = ()) -> Result:
    """Make the result of a run from what the ledger alone has of it."""
    return Result(
        run_id=row.run_id,
        recipe=row.recipe,
        outcome=outcome,
        attempts=tuple(past),
        usage=past[-1].usage if past else Usage(),
        changes=Changes(),
        merge=Merge(),
        errors=tuple(errors),
        artifacts=(),
        digests=digests_of(row),
        engine=None,
        replay_of=row.replay_of,
    )


def past_attempts(connection: Connection, run_id: str) -> tuple[Attempt, ...]:
    """Return the attempts that are kept of a run, in order."""
    query = select(attempts.c.document).where(attempts.c.run_id == run_id).order_by(attempts.c.number)
    return tuple(attempt_from_json(document) for document in connection.scalars(query))


def digests_of(row: Row[Any]) -> Digests:
    """Return what a row of ``runs`` says that its run is made of."""
    return Digests(
        package=row.package_digest,
        snapshot=row.snapshot_digest or "",
        policy=row.policy_digest,
        image=row.image_digest or "",
    )

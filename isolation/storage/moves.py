"""
How a run may move, and who may move it.

A run moves only so, each time in one transaction::

    queued ──▶ running ──▶ finished     its result is kept; its changes are merged in the same transaction
     │  ▲       │  │
     │  └───────┘  └─────▶ abandoned    whoever ran it died, and it had not come through the queue; nothing was merged
     └───────────────────▶ finished     cancelled before it began

It goes back to the queue to wait for another attempt, and when whoever ran it is gone. Each time it is taken from there
its epoch counts up, and only the last one's holder may move it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from isolation.errors import RunEndedError, RunNotFoundError
from isolation.model.document import to_json
from isolation.state.schema import attempts, runs

if TYPE_CHECKING:
    from isolation.model.run import Attempt, Result, RunState

_MOVES: dict[RunState, frozenset[RunState]] = {
    "queued": frozenset({"running", "finished"}),
    "running": frozenset({"queued", "finished", "abandoned"}),
    "finished": frozenset(),
    "abandoned": frozenset(),
}

# Made once: SQLAlchemy takes longer to make a statement of many values than the database to carry it out.
_ATTEMPT = insert(attempts)
_ONE = runs.c.run_id == bindparam("which")
_HELD = select(runs.c.state, runs.c.epoch, runs.c.cancelled_at).where(_ONE)
_MOVE_TO = {
    to: update(runs).where(_ONE, or_(*(runs.c.state == state for state, moves in _MOVES.items() if to in moves)))
    for to in _MOVES
}


@dataclass(kw_only=True, slots=True)
class Settling:
    """
    The one transaction that settles an attempt: hand ``connection`` to the context's merge, then say what follows.

    ``finish``, and the run has ended; ``go_on``, and another attempt of ours follows; or ``park``, and one of whoever
    takes it from the queue. ``cancelled``: somebody was told that the run will be, so nothing may be merged any more.
    """

    run_id: str
    connection: Connection
    cancelled: bool = False
    _settled: bool = field(default=False, repr=False)

    def go_on(self, attempt: Attempt, at: str, due_at: str) -> None:
        """Keep an attempt after which we try again ourselves, once it is due; nothing may have been merged."""
        self.keep(attempt)
        waits = {"begun": attempt.number + 1, "parked_at": at, "due_at": due_at}
        self.connection.execute(update(runs).where(runs.c.run_id == self.run_id).values(**waits))
        self._settled = True

    def park(self, attempt: Attempt, at: str, due_at: str, *, afresh: bool) -> None:
        """
        Keep an attempt after which the run waits in the queue until it is due; nothing may have been merged.

        ``afresh``: the next attempt takes a snapshot of its own.
        """
        self.keep(attempt)
        waits: dict[str, str | float | None] = {"begun": attempt.number, "parked_at": at, "due_at": due_at}
        anew = {"snapshot_digest": None} if afresh else {}
        move(self.connection, self.run_id, "queued", controller_id=None, **waits, **anew)
        self._settled = True

    def finish(self, result: Result, at: str) -> None:
        """Record the result; it is kept, together with the merge, once the block of ``Ledger.settling`` is left."""
        if result.run_id != self.run_id:
            raise ValueError(f"the run {self.run_id} cannot be finished with the result of {result.run_id}")
        finish(self.connection, result, at)
        if result.attempts:
            self._insert(result.attempts[-1])
        self._settled = True

    def keep(self, attempt: Attempt) -> None:
        """Record an attempt."""
        self._insert(attempt)
        self.connection.execute(update(runs).where(runs.c.run_id == self.run_id).values(attempts=attempt.number))

    def _insert(self, attempt: Attempt) -> None:
        row = {
            "run_id": self.run_id,
            "number": attempt.number,
            "outcome": attempt.outcome.value,
            "cause": attempt.cause,
            "started_at": attempt.started_at,
            "document": to_json(attempt),
        }
        self.connection.execute(_ATTEMPT, row)


def check_running(connection: Connection, run_id: str, epoch: int | None = None) -> bool:
    """Raise RunEndedError for a run that has ended, or is another's; tells whether somebody wants to end it."""
    row = connection.execute(_HELD, {"which": run_id}).one_or_none()
    if row is None:
        raise RunNotFoundError(f"there is no run {run_id!r} in this state folder", hint="`isolation runs` lists them.")
    if row.state != "running" or (epoch is not None and row.epoch != epoch):
        ended = row.state in {"finished", "abandoned"}
        what = f"is already {row.state}" if ended else "was taken over by another controller"
        raise RunEndedError(
            f"the run {run_id} {what}; nothing more is recorded of it, and nothing is merged",
            hint=f"`isolation show {run_id}` shows what is recorded.",
        )
    return row.cancelled_at is not None


def move(connection: Connection, run_id: str, to: RunState, **values: str | float | None) -> None:
    """Change the state if the table of moves allows it. The caller has looked, in the same transaction, and knows."""
    moved = connection.execute(_MOVE_TO[to], {"which": run_id, "state": to, **values})
    if moved.rowcount != 1:
        raise RunEndedError(f"the run {run_id} cannot become {to}")


def finish(connection: Connection, result: Result, at: str) -> None:
    """Record that a run has ended, and how."""
    move(
        connection,
        result.run_id,
        "finished",
        controller_id=None,
        outcome=result.outcome.value,
        cause=result.cause,
        finished_at=at,
        wall_s=result.usage.wall_s,
        snapshot_digest=result.digests.snapshot or None,  # another than at the start, if a conflict was tried again
        image_digest=result.digests.image or None,
        attempts=len(result.attempts),
        result=to_json(result),
    )

"""
Who runs runs: every process that does is present in the database, by a beat that it counts up as long as it lives.

Nobody compares clocks, which jump. A process is gone where this machine can tell that, or where somebody watched its
beat stand still for ``LEASE_S`` of his own monotonic clock. Whoever finds one gone takes its runs from it, and with
each run goes its epoch: a process that was only paused, and comes back, can finish none of them any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import bindparam, delete, insert, select, update

from isolation.owner import Owner, is_gone, this_process
from isolation.state.schema import controllers, runs
from isolation.storage.endings import requeue
from isolation.storage.moves import move

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from isolation.state.database import Database

_PRESENT = select(controllers.c.controller_id).where(controllers.c.controller_id == bindparam("which"))

LEASE_S = 30.0
BEAT_S = LEASE_S / 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Other:
    """A process that runs runs, as it was seen once."""

    controller_id: str
    owner: Owner
    beat: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Buried:
    """What became of the runs of one that is gone: those from the queue wait again, unless they were cancelled."""

    requeued: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()


class Presence:
    """The presence of this process among all that run runs on one database, and a look at the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.controller_id = uuid4().hex
        self._entered = False

    def enter(self, connection: Connection, at: str) -> None:
        """Be present from this transaction on, if it was not before: called with every run that is taken."""
        if connection.scalar(_PRESENT, {"which": self.controller_id}) is None:
            owner = this_process()
            connection.execute(
                insert(controllers).values(
                    controller_id=self.controller_id,
                    owner_boot=owner.boot,
                    owner_pid=owner.pid,
                    owner_started=owner.started,
                    started_at=at,
                    beat=0,
                )
            )
        self._entered = True

    def beat(self) -> bool:
        """Tell the others that this process lives; False, once, where it was taken for dead since it entered."""
        ours = controllers.c.controller_id == self.controller_id
        if not self._entered:
            return True
        with self._database.writing() as connection:
            counted = connection.execute(update(controllers).where(ours).values(beat=controllers.c.beat + 1))
        self._entered = counted.rowcount == 1
        return self._entered

    def cancelled(self) -> tuple[str, ...]:
        """Name the runs of this process that somebody wants to end."""
        with self._database.reading() as connection:
            query = select(runs.c.run_id).where(_held_by(self.controller_id), runs.c.cancelled_at.is_not(None))
            return tuple(connection.scalars(query))

    def held(self) -> tuple[tuple[str, str, int], ...]:
        """Name the runs from the queue that this process has, as the database knows: namespace, id and epoch."""
        ours = _held_by(self.controller_id) & runs.c.queued
        with self._database.reading() as connection:
            rows = connection.execute(select(runs.c.namespace, runs.c.run_id, runs.c.epoch).where(ours))
            return tuple((row.namespace, row.run_id, row.epoch) for row in rows)

    def leave(self) -> None:
        """Be present no more; a process that still has a run stays, for somebody to find it."""
        ours = controllers.c.controller_id == self.controller_id
        mine = select(runs.c.run_id).where(_held_by(self.controller_id))
        with self._database.writing() as connection:
            if connection.scalar(mine.limit(1)) is None:
                connection.execute(delete(controllers).where(ours))

    def others(self) -> tuple[Other, ...]:
        """Look at all the others."""
        with self._database.reading() as connection:
            not_ours = controllers.c.controller_id != self.controller_id
            rows = connection.execute(select(controllers).where(not_ours)).all()
        return tuple(
            Other(
                controller_id=row.controller_id,
                owner=Owner(boot=row.owner_boot, pid=row.owner_pid, started=row.owner_started),
                beat=row.beat,
            )
            for row in rows
        )

    def gone(self) -> tuple[Other, ...]:
        """Return those of the others whose process has surely ended, on this machine."""
        return tuple(other for other in self.others() if is_gone(other.owner))

    def runs_of(self, other: Other) -> tuple[str, ...]:
        """Name the runs that another runs, in the order of their submission."""
        with self._database.reading() as connection:
            query = select(runs.c.run_id).where(_held_by(other.controller_id))
            return tuple(connection.scalars(query.order_by(runs.c.number)))

    def bury(self, other: Other, at: str) -> Buried:
        """Take the runs of one that is gone, in one transaction; nothing if it beat again since it was seen."""
        theirs = _held_by(other.controller_id)
        seen = (controllers.c.controller_id == other.controller_id) & (controllers.c.beat == other.beat)
        with self._database.writing() as connection:
            if connection.scalar(select(controllers.c.beat).where(seen)) is None:
                return Buried()
            rows = connection.execute(select(runs.c.run_id, runs.c.queued).where(theirs).order_by(runs.c.number)).all()
            submitted = [row.run_id for row in rows if row.queued]
            by_hand = [row.run_id for row in rows if not row.queued]
            requeued = [run_id for run_id in submitted if requeue(connection, run_id, at)]
            for run_id in by_hand:
                move(connection, run_id, "abandoned", controller_id=None, cause="controller:died", finished_at=at)
            connection.execute(delete(controllers).where(seen))
        return Buried(requeued=tuple(requeued), abandoned=tuple(by_hand))


def _held_by(controller_id: str) -> ColumnElement[bool]:
    # Only a run under way has a controller; the state is said for the index of those.
    return (runs.c.state == "running") & (runs.c.controller_id == controller_id)


class Lookout:
    """Watches the beats of the others over time; asked again and again by one that goes on for long."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._since: dict[str, tuple[int, float]] = {}
        self._looked_s = 0.0

    def stale(self, now_s: float) -> tuple[Other, ...]:
        """
        Return those that are gone; ``now_s`` is the monotonic clock's.

        Who could not look for a lease begins anew: a database that was away kept everybody else from beating, too.
        """
        others = self._presence.others()
        if now_s - self._looked_s >= LEASE_S:
            self._since = {}
        self._looked_s = now_s
        since = {}
        for other in others:
            beat, at_s = self._since.get(other.controller_id, (other.beat, now_s))
            since[other.controller_id] = (beat, at_s) if beat == other.beat else (other.beat, now_s)
        self._since = since
        return tuple(
            other for other in others if is_gone(other.owner) or now_s - since[other.controller_id][1] >= LEASE_S
        )

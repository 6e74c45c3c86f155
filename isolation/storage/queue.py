"""
The queue: runs that wait for whoever takes them, first those whose namespace has the fewest running.

Among namespaces with as many running, the one that has waited longest for its turn; within a namespace the highest
priority, and of those the first submitted. So no namespace can hold up another, however much it submits, and a priority
counts among its own.

A run that waits for its next attempt has a moment at which it is due. The wall clock may jump: one that was set back
to before the moment at which the wait began does not make it longer, it ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, insert, or_, select, update

from isolation.errors import QueueFullError
from isolation.settings import DEFAULT_NAMESPACE
from isolation.state.schema import namespaces, reruns, runs
from isolation.storage.keys import holder
from isolation.storage.moves import move
from isolation.storage.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Select

    from isolation.model.run import Digests
    from isolation.state.database import Database

MOST_WAITING = 10_000
"""Runs of one namespace that may wait at once."""
_waiting = runs.c.state == "queued"


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """
    What is put into the queue. ``key``: who submits twice with the same gets the run of the first.

    ``digests`` have a snapshot and an image where it is to have those of a run of the record: that which it replays, or
    else reruns; ``fresh``: with the context as it is then.
    """

    run_id: str
    recipe: str
    policy: str
    digests: Digests
    inputs_digest: str
    priority: int = 0
    key: str | None = None
    replay_of: str = ""
    rerun_of: str = ""
    fresh: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """
    A run that was taken from the queue.

    ``lost``: attempts that began, and of which nobody told the end. ``waited_s``: how long it waited since it was
    submitted, put back, or due, by the wall clock; None where that clock was set back meanwhile.
    """

    namespace: str
    run_id: str
    epoch: int
    lost: int
    waited_s: float | None = None


class Queue:
    """The queue of one database: who submits does so in one namespace, who takes has those of all."""

    def __init__(
        self, database: Database, namespace: str = DEFAULT_NAMESPACE, presence: Presence | None = None
    ) -> None:
        self._database = database
        self._namespace = namespace
        self._presence = presence or Presence(database)

    def submit(self, wanted: Submission, at: str) -> str:
        """
        Put a run into the queue, and return its id: that of an earlier one, if that was submitted with the same key.

        IdempotencyError where the same key was given to something else, QueueFullError where too many wait.
        """
        return self.submit_all([wanted], at)[0]

    def submit_all(self, wanted: Sequence[Submission], at: str) -> tuple[str, ...]:
        """Put several runs into the queue, in this order, all of them or none; the ids and errors are as for one."""
        with self._database.writing() as connection:
            known = [self._known(connection, one) for one in wanted]
            new = [one for one, run_id in zip(wanted, known, strict=True) if run_id is None]
            if new:
                self._check_room(connection, len(new))
                connection.execute(insert(runs), [self._row(one, at) for one in new])
            again = [
                {"run_id": one.run_id, "rerun_of": one.rerun_of, "fresh": one.fresh} for one in new if one.rerun_of
            ]
            if again:
                connection.execute(insert(reruns), again)
        return tuple(run_id or one.run_id for one, run_id in zip(wanted, known, strict=True))

    def claim(self, now: str) -> Claim | None:
        """Take the run whose turn it is, for this process; None if none is due. ``now`` is the wall clock's."""
        with self._database.reading() as connection:  # who looks often must hold up nobody
            if connection.scalar(select(runs.c.number).where(_waiting, _due(now)).limit(1)) is None:
                return None
        with self._database.writing() as connection:
            namespace = _next_namespace(connection, now)
            if namespace is None:
                return None
            query = select(runs).where(_waiting, _due(now), runs.c.namespace == namespace)
            row = connection.execute(query.order_by(runs.c.priority.desc(), runs.c.number).limit(1)).one()
            self._presence.enter(connection, now)
            move(
                connection,
                row.run_id,
                "running",
                controller_id=self._presence.controller_id,
                epoch=row.epoch + 1,
                begun=row.begun + 1,
                begun_at=now,
                started_at=row.started_at or now,
                parked_at=None,
                due_at=None,
            )
            _take_turn(connection, namespace)
        waited_s = _between_s(row.due_at or row.parked_at or row.submitted_at, now)
        lost = row.begun - row.attempts
        return Claim(namespace=namespace, run_id=row.run_id, epoch=row.epoch + 1, lost=lost, waited_s=waited_s)

    def waiting(self) -> dict[str, int]:
        """Count the runs that wait, by namespace, due or not."""
        with self._database.reading() as connection:
            query = select(runs.c.namespace, func.count()).where(_waiting).group_by(runs.c.namespace)
            return _by_name(connection, query)

    def _known(self, connection: Connection, wanted: Submission) -> str | None:
        if wanted.key is None:
            return None
        again = (wanted.replay_of, wanted.rerun_of, wanted.fresh)
        known = holder(connection, self._namespace, wanted.key, wanted.digests, wanted.inputs_digest, again=again)
        return None if known is None else known.run_id

    def _check_room(self, connection: Connection, count: int) -> None:
        here = runs.c.namespace == self._namespace
        waiting = connection.scalar(select(func.count()).select_from(runs).where(_waiting, here)) or 0
        if waiting + count > MOST_WAITING:
            raise QueueFullError(
                f"{waiting} runs of the namespace {self._namespace!r} wait in the queue already",
                hint="Submit it again when some have run; `isolation runs --queued` lists them.",
            )

    def _row(self, wanted: Submission, at: str) -> dict[str, object]:
        return {
            "namespace": self._namespace,
            "run_id": wanted.run_id,
            "idempotency_key": wanted.key,
            "recipe": wanted.recipe,
            "policy": wanted.policy,
            "state": "queued",
            "queued": True,
            "priority": wanted.priority,
            "epoch": 0,
            "submitted_at": at,
            "begun": 0,
            "attempts": 0,
            "package_digest": wanted.digests.package,
            "policy_digest": wanted.digests.policy,
            "snapshot_digest": wanted.digests.snapshot or None,
            "image_digest": wanted.digests.image or None,
            "inputs_digest": wanted.inputs_digest,
            "replay_of": wanted.replay_of,
        }


def _due(now: str) -> ColumnElement[bool]:
    return or_(runs.c.due_at.is_(None), runs.c.due_at <= now, runs.c.parked_at > now)


def _between_s(earlier: str, later: str) -> float | None:
    spent_s = (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    return spent_s if spent_s >= 0 else None


def _next_namespace(connection: Connection, now: str) -> str | None:
    """Return the namespace that has its turn, of those with a run that is due."""
    found: Sequence[str] = connection.scalars(select(runs.c.namespace).where(_waiting, _due(now)).distinct()).all()
    if len(found) < 2:  # noqa: PLR2004 - nobody to be fair to
        return found[0] if found else None
    running = runs.c.state == "running"
    by_namespace = select(runs.c.namespace, func.count()).where(running).group_by(runs.c.namespace)
    counts = _by_name(connection, by_namespace)
    turns = _by_name(connection, select(namespaces.c.namespace, namespaces.c.turn))
    return min(found, key=lambda name: (counts.get(name, 0), turns.get(name, 0), name))


def _by_name(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _take_turn(connection: Connection, namespace: str) -> None:
    turn = (connection.scalar(select(func.max(namespaces.c.turn))) or 0) + 1
    known = connection.execute(update(namespaces).where(namespaces.c.namespace == namespace).values(turn=turn))
    if known.rowcount == 0:
        connection.execute(insert(namespaces).values(namespace=namespace, turn=turn))

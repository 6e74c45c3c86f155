"""The ledger: every run and attempt, in the order they were submitted, kept for ever."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from isolation.errors import InputError, RunNotFoundError, TooLateError
from isolation.model.document import from_json
from isolation.model.outcome import Outcome
from isolation.model.run import Attempt, Digests, Result, RunState, RunSummary, StepError
from isolation.settings import DEFAULT_NAMESPACE
from isolation.state.schema import reruns, runs
from isolation.storage.endings import cancelled, digests_of, ended, past_attempts, requeue, summary_columns
from isolation.storage.keys import hand_over, holder
from isolation.storage.moves import Settling, check_running, finish, move
from isolation.storage.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Row, ScalarSelect

    from isolation.model.key import Holder, Key
    from isolation.state.database import Database

_RUN = insert(runs)
_NEWEST = ("last", "latest")
_AFTER_ANY_CHARACTER = "\U0010ffff"
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """
    What a run is made of, as it was recorded, and what became of its attempts so far.

    ``rerun_of``: the run that it repeats, all steps of it; empty for one that was not put into the queue for that.
    """

    run_id: str
    digests: Digests
    inputs_digest: str
    replay_of: str
    attempts: tuple[Attempt, ...]
    rerun_of: str = ""


class Ledger:
    """The runs of one namespace; any number of threads and processes may use it at once."""

    def __init__(
        self, database: Database, namespace: str = DEFAULT_NAMESPACE, presence: Presence | None = None
    ) -> None:
        self._database = database
        self._namespace = namespace
        self._presence = presence or Presence(database)

    def start(
        self,
        run_id: str,
        recipe: str,
        policy_name: str,
        digests: Digests,
        started_at: str,
        *,
        inputs_digest: str | None = None,
        key: Key | None = None,
        replay_of: str = "",
    ) -> int:
        """
        Record that this process begins a run, past the queue; returns the epoch by which it may finish it.

        IdempotencyError where another run has the key.
        """
        with self._database.writing() as connection:
            self._presence.enter(connection, started_at)
            if key is not None:
                hand_over(connection, self._namespace, key)
            row = {
                **self._new(run_id, recipe, policy_name, digests, started_at),
                "state": "running",
                "queued": False,
                "epoch": 1,
                "controller_id": self._presence.controller_id,
                "started_at": started_at,
                "begun_at": started_at,
                "begun": 1,
                "inputs_digest": inputs_digest,
                "idempotency_key": key.text if key else None,
                "replay_of": replay_of,
            }
            connection.execute(_RUN, row)
        return 1

    def begin(self, run_id: str, epoch: int, digests: Digests) -> None:
        """Record what a run that was taken from the queue begins with."""
        with self._database.writing() as connection:
            check_running(connection, run_id, epoch)
            connection.execute(
                update(runs)
                .where(runs.c.run_id == run_id)
                .values(snapshot_digest=digests.snapshot, image_digest=digests.image)
            )

    @contextmanager
    def settling(self, run_id: str, epoch: int = 1) -> Iterator[Settling]:
        """
        Settle an attempt in one transaction, alone among all writers; RunEndedError if the run was ended before.

        ::

            with ledger.settling(run_id) as settling:
                merge = contexts.merge(settling.connection, snapshot, changes, rule, who=…, run_id=run_id, at=at)
                settling.finish(result_with(merge), at)

        At the end of the block all of it is kept, or none. Left without ``finish``, ``go_on`` and ``park``, or by an
        exception, everything is undone and the run goes on.
        """
        with self._database.writing() as connection:
            wanted = check_running(connection, run_id, epoch)
            settling = Settling(run_id=run_id, connection=connection, cancelled=wanted)
            yield settling
            if not settling._settled:  # noqa: SLF001  (ours)
                connection.rollback()

    def under(self, key: str, digests: Digests, inputs_digest: str) -> Holder | None:
        """Return who has a key; None if nobody has. IdempotencyError where that run is made of something else."""
        with self._database.reading() as connection:
            return holder(connection, self._namespace, key, digests, inputs_digest)

    def newest_key(self, beginning: str) -> str | None:
        """Return the key, of those that begin so, whose run began last; None if there is none."""
        key = runs.c.idempotency_key
        with self._database.reading() as connection:
            query = select(key).where(self._here(), _begins(key, beginning))
            return connection.scalar(query.order_by(runs.c.number.desc()).limit(1))

    def abandon(self, run_id: str, at: str, cause: str = "controller:died", epoch: int | None = None) -> None:
        """Record that nobody runs this run any more; RunEndedError if it was ended before, or is another's by now."""
        with self._database.writing() as connection:
            check_running(connection, run_id, epoch)
            move(connection, run_id, "abandoned", cause=cause, finished_at=at, controller_id=None)

    def give_back(self, run_id: str, epoch: int, at: str, *, begun: bool = True) -> None:
        """
        Put a run that was taken from the queue back there, or end it if it was cancelled meanwhile.

        Its attempt counts as begun, and lost; without ``begun`` nothing of it was, and it does not count.
        """
        with self._database.writing() as connection:
            check_running(connection, run_id, epoch)
            requeue(connection, run_id, at, begun=begun)

    def refuse(self, run_id: str, epoch: int, error: StepError, at: str) -> Result:
        """End a run, of which not even what it is made of can be had here; returns its result."""
        with self.settling(run_id, epoch) as settling:
            connection = settling.connection
            row = connection.execute(select(*summary_columns).where(runs.c.run_id == run_id)).one()
            outcome = Outcome.CANCELLED if settling.cancelled else Outcome.REFUSED
            attempt = Attempt(number=row.attempts + 1, outcome=outcome, cause="record", started_at=at)
            result = ended(row, [*past_attempts(connection, run_id), attempt], outcome, [error])
            settling.finish(result, at)
        return result

    def cancel(self, run: str, at: str) -> bool:
        """
        End a run that waits, or have whoever runs it end it; tells whether it has ended already with that.

        Once this returns nothing of the run is merged any more. TooLateError where it has ended before.
        """
        with self._database.writing() as connection:
            run_id = _resolve(connection, run, self._here())
            row = connection.execute(select(*summary_columns).where(runs.c.run_id == run_id)).one()
            if row.state == "queued":
                finish(connection, cancelled(connection, row), at)
                return True
            if row.state != "running":
                raise TooLateError(
                    f"the run {run_id} has ended before: {row.outcome or row.state}",
                    hint=f"`isolation show {run_id}` shows how.",
                )
            connection.execute(
                update(runs).where(runs.c.run_id == run_id, runs.c.cancelled_at.is_(None)).values(cancelled_at=at)
            )
            return False

    def get(self, run: str) -> Result:
        """Return a finished run's result. ``run`` is anything that ``resolve`` takes."""
        with self._database.reading() as connection:
            run_id = _resolve(connection, run, self._here())
            row = connection.execute(select(runs.c.state, runs.c.result).where(runs.c.run_id == run_id)).one()
        if row.result is None:
            raise InputError(
                f"the run {run_id} has no result: {_NO_RESULT[row.state]}",
                hint=f"`isolation show {run_id}` tells more.",
            )
        return from_json(row.result)

    def record(self, run: str) -> Record:
        """Return what is needed to run a run, or to run it again."""
        with self._database.reading() as connection:
            run_id = _resolve(connection, run, self._here())
            row = connection.execute(select(*summary_columns).where(runs.c.run_id == run_id)).one()
            return Record(
                run_id=run_id,
                digests=digests_of(row),
                inputs_digest=row.inputs_digest or "",
                replay_of=row.replay_of,
                attempts=past_attempts(connection, run_id),
                rerun_of=connection.scalar(select(reruns.c.rerun_of).where(reruns.c.run_id == run_id)) or "",
            )

    def attempts(self, run: str) -> tuple[Attempt, ...]:
        """Return the attempts that ended so far, in order, also of a run without a result."""
        with self._database.reading() as connection:
            return past_attempts(connection, _resolve(connection, run, self._here()))

    def summary(self, run: str) -> RunSummary:
        """Return what the list of runs tells of one. ``run`` is anything that ``resolve`` takes."""
        with self._database.reading() as connection:
            query = select(*summary_columns).where(runs.c.run_id == _resolve(connection, run, self._here()))
            return _summary(connection.execute(query).one())

    def list(
        self,
        limit: int,
        recipe: str | None = None,
        outcome: Outcome | None = None,
        state: RunState | None = None,
        before: str | None = None,
    ) -> tuple[RunSummary, ...]:
        """Return at most ``limit`` runs, the last submitted first: of those that were submitted ``before`` a run."""
        query = select(*summary_columns).where(self._here()).order_by(runs.c.number.desc()).limit(limit)
        if recipe is not None:
            query = query.where(runs.c.recipe == recipe)
        if outcome is not None:
            query = query.where(runs.c.outcome == outcome.value)
        if state is not None:
            query = query.where(runs.c.state == state)
        with self._database.reading() as connection:
            if before is not None:
                query = query.where(runs.c.number < self._number(connection, before))
            return tuple(_summary(row) for row in connection.execute(query))

    def keyed_so(
        self, beginning: str, ending: str, limit: int, before: str | None = None
    ) -> tuple[tuple[str, RunSummary], ...]:
        """Return at most ``limit`` runs whose keys begin and end so, and what is between, as ``list`` does."""
        so = _begins(runs.c.idempotency_key, beginning) & runs.c.idempotency_key.endswith(ending, autoescape=True)
        query = select(*summary_columns).where(self._here(), so).order_by(runs.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            if before is not None:
                query = query.where(runs.c.number < self._number(connection, before))
            rows = connection.execute(query).all()
        return tuple((row.idempotency_key.removeprefix(beginning).removesuffix(ending), _summary(row)) for row in rows)

    def keyed(self, beginning: str) -> dict[str, RunSummary]:
        """Return the runs whose keys begin so, by the rest of their keys."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*summary_columns).where(self._here(), _begins(runs.c.idempotency_key, beginning))
            ).all()
        return {row.idempotency_key.removeprefix(beginning): _summary(row) for row in rows}

    def resolve(self, run: str) -> str:
        """
        Find the run that a person means: its id, the beginning of it if no other begins so, ``last`` or ``latest``.

        RunNotFoundError if there is none, or more than one.
        """
        with self._database.reading() as connection:
            return _resolve(connection, run, self._here())

    def _number(self, connection: Connection, run: str) -> ScalarSelect[int]:
        run_id = _resolve(connection, run, self._here())
        return select(runs.c.number).where(runs.c.run_id == run_id).scalar_subquery()

    def _here(self) -> ColumnElement[bool]:
        return runs.c.namespace == self._namespace

    def _new(self, run_id: str, recipe: str, policy_name: str, digests: Digests, at: str) -> dict[str, Any]:
        """Return the columns that all new runs have."""
        return {
            "namespace": self._namespace,
            "run_id": run_id,
            "recipe": recipe,
            "policy": policy_name,
            "priority": 0,
            "submitted_at": at,
            "attempts": 0,
            "package_digest": digests.package,
            "snapshot_digest": digests.snapshot or None,
            "policy_digest": digests.policy,
            "image_digest": digests.image or None,
        }


_NO_RESULT = {
    "queued": "it waits in the queue",
    "running": "it is still running",
    "abandoned": "whoever ran it died",
}


def _begins(column: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    """Find what begins so, by its index; SQLite's LIKE would not tell small letters from large ones."""
    return (column >= beginning) & (column < beginning + _AFTER_ANY_CHARACTER)


def _resolve(connection: Connection, run: str, here: ColumnElement[bool]) -> str:
    ids = select(runs.c.run_id).where(here)
    if run in _NEWEST:
        found = connection.scalars(ids.order_by(runs.c.number.desc()).limit(1)).all()
        if not found:
            raise RunNotFoundError("there are no runs yet", hint="Begin one: `isolation run RECIPE`.")
        return str(found[0])
    begins_so = _begins(runs.c.run_id, run)
    # The whole id, if there is such a run, is the first in this order; and the index has it.
    found = connection.scalars(ids.where(begins_so).order_by(runs.c.run_id).limit(_MOST_NAMED + 1)).all() if run else []
    if run in found[:1] or len(found) == 1:
        return str(found[0])
    if not found:
        raise RunNotFoundError(f"there is no run {run!r} in this state folder", hint="`isolation runs` lists them.")
    named = ", ".join(found[:_MOST_NAMED]) + (", ..." if len(found) > _MOST_NAMED else "")
    raise RunNotFoundError(f"more than one run begins with {run!r}: {named}", hint="Give more of the id.")


def _summary(row: Row[Any]) -> RunSummary:
    return RunSummary(
        run_id=row.run_id,
        recipe=row.recipe,
        state=row.state,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        policy=row.policy,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        wall_s=row.wall_s,
        digests=digests_of(row),
        namespace=row.namespace,
        priority=row.priority,
        due_at=row.due_at if row.state in {"queued", "running"} else None,
        cancelled_at=row.cancelled_at,
    )

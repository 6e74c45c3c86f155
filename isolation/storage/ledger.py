"""
The ledger: every run and attempt, in the order they began, kept for ever.

A run moves once, and only so::

    running ──▶ finished     its result is kept; its changes are merged in the same transaction
       └──────▶ abandoned    whoever ran it died; nothing was merged
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from isolation.errors import InputError, RunEndedError, RunNotFoundError
from isolation.model.document import attempt_from_json, from_json, to_json
from isolation.model.outcome import Outcome
from isolation.model.run import Attempt, Digests, Result, RunState, RunSummary
from isolation.owner import Owner, is_gone, this_process
from isolation.state.schema import attempts, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

    from isolation.state.database import Database

_MOVES: dict[RunState, frozenset[RunState]] = {
    "running": frozenset({"finished", "abandoned"}),
    "finished": frozenset(),
    "abandoned": frozenset(),
}
_NEWEST = ("last", "latest")
_AFTER_ANY_CHARACTER = "\U0010ffff"
_MOST_NAMED = 5
_summary_columns = [column for column in runs.c if column.name != "result"]


@dataclass(kw_only=True, slots=True)
class Settling:
    """
    The one transaction that settles an attempt: hand ``connection`` to the context's merge, then say what follows.

    Either ``finish``, and the run has ended, or ``go_on``, and another attempt follows.
    """

    run_id: str
    connection: Connection
    _settled: bool = field(default=False, repr=False)

    def go_on(self, attempt: Attempt) -> None:
        """Keep an attempt after which the run is tried again; nothing may have been merged."""
        self._keep(attempt)
        self._settled = True

    def finish(self, result: Result, at: str) -> None:
        """Record the result; it is kept, together with the merge, once the block of ``Ledger.settling`` is left."""
        if result.run_id != self.run_id:
            raise ValueError(f"the run {self.run_id} cannot be finished with the result of {result.run_id}")
        _move(
            self.connection,
            self.run_id,
            "finished",
            outcome=result.outcome.value,
            cause=result.cause,
            finished_at=at,
            wall_s=result.usage.wall_s,
            snapshot_digest=result.digests.snapshot,  # another than at the start, if a conflict was tried again
            result=to_json(result),
        )
        self._keep(result.attempts[-1])
        self._settled = True

    def _keep(self, attempt: Attempt) -> None:
        self.connection.execute(
            insert(attempts).values(
                run_id=self.run_id,
                number=attempt.number,
                outcome=attempt.outcome.value,
                cause=attempt.cause,
                started_at=attempt.started_at,
                document=to_json(attempt),
            )
        )
        self.connection.execute(update(runs).where(runs.c.run_id == self.run_id).values(attempts=attempt.number))


class Ledger:
    """The runs of one state folder; any number of threads and processes may use it at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, run_id: str, recipe: str, policy_name: str, digests: Digests, started_at: str) -> int:
        """Record that this process begins a run, and return the epoch by which it may finish it."""
        owner = this_process()
        with self._database.writing() as connection:
            connection.execute(
                insert(runs).values(
                    run_id=run_id,
                    recipe=recipe,
                    policy=policy_name,
                    state="running",
                    epoch=1,
                    started_at=started_at,
                    attempts=0,
                    package_digest=digests.package,
                    snapshot_digest=digests.snapshot,
                    policy_digest=digests.policy,
                    image_digest=digests.image,
                    owner_boot=owner.boot,
                    owner_pid=owner.pid,
                    owner_started=owner.started,
                )
            )
        return 1

    @contextmanager
    def settling(self, run_id: str, epoch: int = 1) -> Iterator[Settling]:
        """
        Settle an attempt in one transaction, alone among all writers; RunEndedError if the run was ended before.

        ::

            with ledger.settling(run_id) as settling:
                merge = contexts.merge(settling.connection, snapshot, changes, rule, who=…, run_id=run_id, at=at)
                settling.finish(result_with(merge), at)

        At the end of the block all of it is kept, or none. Left without ``finish`` and ``go_on``, or by an
        exception, everything is undone and the run goes on.
        """
        with self._database.writing() as connection:
            _check_running(connection, run_id, epoch)
            settling = Settling(run_id=run_id, connection=connection)
            yield settling
            if not settling._settled:  # noqa: SLF001  (ours)
                connection.rollback()

    def abandon(self, run_id: str, at: str, cause: str = "controller:died") -> None:
        """Record that nobody runs this run any more; RunEndedError if it was ended before."""
        with self._database.writing() as connection:
            _check_running(connection, run_id)
            _move(connection, run_id, "abandoned", cause=cause, finished_at=at)

    def orphans(self) -> tuple[str, ...]:
        """Name the runs that nobody runs any more: their process has surely ended. For ``abandon``."""
        with self._database.reading() as connection:
            rows = connection.execute(select(runs).where(runs.c.state == "running").order_by(runs.c.number)).all()
        owners = {row.run_id: Owner(boot=row.owner_boot, pid=row.owner_pid, started=row.owner_started) for row in rows}
        return tuple(run_id for run_id, owner in owners.items() if is_gone(owner))

    def get(self, run: str) -> Result:
        """Return a finished run's result. ``run`` is anything that ``resolve`` takes."""
        with self._database.reading() as connection:
            run_id = _resolve(connection, run)
            row = connection.execute(select(runs.c.state, runs.c.result).where(runs.c.run_id == run_id)).one()
        if row.result is None:
            why = "it is still running" if row.state == "running" else "whoever ran it died"
            raise InputError(f"the run {run_id} has no result: {why}", hint=f"`isolation show {run_id}` tells more.")
        return from_json(row.result)

    def attempts(self, run: str) -> tuple[Attempt, ...]:
        """Return the attempts that ended so far, in order, also of a run without a result."""
        with self._database.reading() as connection:
            query = select(attempts.c.document).where(attempts.c.run_id == _resolve(connection, run))
            documents = connection.scalars(query.order_by(attempts.c.number)).all()
        return tuple(attempt_from_json(document) for document in documents)

    def summary(self, run: str) -> RunSummary:
        """Return what the list of runs tells of one. ``run`` is anything that ``resolve`` takes."""
        with self._database.reading() as connection:
            query = select(*_summary_columns).where(runs.c.run_id == _resolve(connection, run))
            return _summary(connection.execute(query).one())

    def list(self, limit: int, recipe: str | None = None, outcome: Outcome | None = None) -> tuple[RunSummary, ...]:
        """Return at most ``limit`` runs, the last begun first."""
        query = select(*_summary_columns).order_by(runs.c.number.desc()).limit(limit)
        if recipe is not None:
            query = query.where(runs.c.recipe == recipe)
        if outcome is not None:
            query = query.where(runs.c.outcome == outcome.value)
        with self._database.reading() as connection:
            return tuple(_summary(row) for row in connection.execute(query))

    def resolve(self, run: str) -> str:
        """
        Find the run that a person means: its id, the beginning of it if no other begins so, ``last`` or ``latest``.

        RunNotFoundError if there is none, or more than one.
        """
        with self._database.reading() as connection:
            return _resolve(connection, run)


def _resolve(connection: Connection, run: str) -> str:
    ids = select(runs.c.run_id)
    if run in _NEWEST:
        found = connection.scalars(ids.order_by(runs.c.number.desc()).limit(1)).all()
        if not found:
            raise RunNotFoundError("there are no runs yet", hint="Begin one: `isolation run RECIPE`.")
        return str(found[0])
    begins_so = (runs.c.run_id >= run) & (runs.c.run_id < run + _AFTER_ANY_CHARACTER)
    # The whole id, if there is such a run, is the first in this order; and the index has it.
    found = connection.scalars(ids.where(begins_so).order_by(runs.c.run_id).limit(_MOST_NAMED + 1)).all() if run else []
    if run in found[:1] or len(found) == 1:
        return str(found[0])
    if not found:
        raise RunNotFoundError(f"there is no run {run!r} in this state folder", hint="`isolation runs` lists them.")
    named = ", ".join(found[:_MOST_NAMED]) + (", ..." if len(found) > _MOST_NAMED else "")
    raise RunNotFoundError(f"more than one run begins with {run!r}: {named}", hint="Give more of the id.")


def _check_running(connection: Connection, run_id: str, epoch: int | None = None) -> None:
    row = connection.execute(select(runs.c.state, runs.c.epoch).where(runs.c.run_id == run_id)).one_or_none()
    if row is None:
        raise RunNotFoundError(f"there is no run {run_id!r} in this state folder", hint="`isolation runs` lists them.")
    if row.state != "running" or (epoch is not None and row.epoch != epoch):
        what = "is already " + row.state if row.state != "running" else "was taken over by another controller"
        raise RunEndedError(
            f"the run {run_id} {what}; nothing more is recorded of it, and nothing is merged",
            hint=f"`isolation show {run_id}` shows what is recorded.",
        )


def _move(connection: Connection, run_id: str, to: RunState, **values: str | float | None) -> None:
    """Change the state if the table of moves allows it. The caller has looked, in the same transaction, and knows."""
    allowed_from = [state for state, moves in _MOVES.items() if to in moves]
    moved = connection.execute(
        update(runs).where(runs.c.run_id == run_id, runs.c.state.in_(allowed_from)).values(state=to, **values)
    )
    if moved.rowcount != 1:
        raise RunEndedError(f"the run {run_id} cannot become {to}")


def _summary(row: Row[Any]) -> RunSummary:
    return RunSummary(
        run_id=row.run_id,
        recipe=row.recipe,
        state=row.state,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        policy=row.policy,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        wall_s=row.wall_s,
        digests=Digests(
            package=row.package_digest,
            snapshot=row.snapshot_digest,
            policy=row.policy_digest,
            image=row.image_digest,
        ),
    )

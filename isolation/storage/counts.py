"""What is counted of all runs, whatever their namespaces, for whoever watches over a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from isolation.model.document import from_json
from isolation.state.schema import runs

if TYPE_CHECKING:
    from isolation.model.run import Result
    from isolation.state.database import Database

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended, with the number by which it was submitted."""

    number: int
    namespace: str
    result: Result


class Counts:
    """The runs of one database, counted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def runs(self) -> dict[tuple[str, str, str], int]:
        """Count the runs by namespace, state and outcome, which is empty while there is none."""
        columns = (runs.c.namespace, runs.c.state, func.coalesce(runs.c.outcome, ""))
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns, func.count()).group_by(*columns))
            return {(row[0], row[1], row[2]): row[3] for row in rows}

    def ended_since(self, at: str) -> list[Ended]:
        """Return the runs with a result that ended at a moment or later, at most ten thousand, the last ones first."""
        query = select(runs.c.number, runs.c.namespace, runs.c.result)
        query = query.where(runs.c.finished_at >= at, runs.c.result.is_not(None))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(runs.c.finished_at.desc()).limit(_MOST)).all()
        return [Ended(row.number, row.namespace, from_json(row.result)) for row in rows]

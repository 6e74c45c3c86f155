"""
The results of steps that later runs may take: the newest few for each key, and the newest of a namespace.

An entry is never changed; whoever would find the same again replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select

from isolation.contract import MOST_KEPT
from isolation.model.step_result import StepResult
from isolation.settings import DEFAULT_NAMESPACE
from isolation.state.schema import step_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import ColumnElement, Row

    from isolation.state.database import Database

MOST_IN_NAMESPACE = 1_000


class Results:
    """What is kept in one namespace; any number of threads and processes may use it at once."""

    def __init__(self, database: Database, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._database = database
        self._namespace = namespace

    def recall(self, keys: Mapping[str, str], most_bytes: int) -> dict[str, tuple[StepResult, ...]]:
        """
        Return what is kept for some steps, whose ``keys`` are given by their names: for each the newest first.

        All together have ``most_bytes`` at most: the newest, as many as there is room for.
        """
        names = {key: name for name, key in keys.items()}
        columns = step_results.c
        with self._database.reading() as connection:
            sizes = select(columns.number, columns.size_bytes).where(self._here(), columns.key.in_([*names]))
            chosen = _fitting(connection.execute(sizes.order_by(columns.number.desc())), most_bytes)
            query = select(columns.key, columns.run_id, columns.document).where(columns.number.in_(chosen))
            rows = connection.execute(query.order_by(columns.number.desc())).all() if chosen else []
        found: dict[str, tuple[StepResult, ...]] = {}
        for row in rows:
            name = names[row.key]
            found[name] = (*found.get(name, ()), StepResult.read(row.document, name, row.run_id))
        return found

    def keep(self, connection: Connection, results: Iterable[tuple[str, StepResult]], run_id: str, at: str) -> None:
        """Keep results of a run, each with its key, in the transaction that merges the run; the oldest make room."""
        kept = [(key, result, result.content()) for key, result in results]
        for key, result, content in kept:
            same = (step_results.c.key == key) & (step_results.c.found == result.found)
            connection.execute(delete(step_results).where(self._here(), same))
            row = {
                "namespace": self._namespace,
                "key": key,
                "found": result.found,
                "run_id": run_id,
                "kept_at": at,
                "size_bytes": len(content.encode()),
                "document": content,
            }
            connection.execute(insert(step_results), row)
            self._make_room(connection, self._here() & (step_results.c.key == key), MOST_KEPT)
        if kept:
            self._make_room(connection, self._here(), MOST_IN_NAMESPACE)

    def _make_room(self, connection: Connection, among: ColumnElement[bool], most: int) -> None:
        number = step_results.c.number
        oldest = connection.scalar(select(number).where(among).order_by(number.desc()).offset(most).limit(1))
        if oldest is not None:
            connection.execute(delete(step_results).where(among, number <= oldest))

    def _here(self) -> ColumnElement[bool]:
        return step_results.c.namespace == self._namespace


def _fitting(sizes: Iterable[Row[Any]], most_bytes: int) -> list[int]:
    chosen, left_bytes = [], most_bytes
    for row in sizes:
        if row.size_bytes <= left_bytes:
            chosen.append(row.number)
            left_bytes -= row.size_bytes
    return chosen

"""
What a batch has come to: counted from its results, and written for people; no terminal here.

::

    etl  [########............]  412 of 1000  3 did not succeed  24.1/s  24 s left
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from isolation.cli.gauge import bar
from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.model.outcome import Outcome
from isolation.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.batches import Done
    from isolation.cli.board import Piece
    from isolation.cli.paint import Paint
    from isolation.model.run import Result

_MOST_FAILURES = 10


class Tally:
    """Counts results. ``count`` is how many there will be, None where nobody knows; the time runs from its making."""

    def __init__(self, name: str, count: int | None = None, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.outcomes: dict[Outcome, int] = {}
        self.before = 0
        self._name = name
        self._count = count
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()
        self._failures: list[tuple[int, Result]] = []

    @property
    def done(self) -> int:
        """How many results there are."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """How many of them did not succeed."""
        return self.done - self.outcomes.get(Outcome.SUCCEEDED, 0)

    def add(self, done: Done) -> None:
        """Take one result."""
        outcome = done.result.outcome
        self.outcomes = {**self.outcomes, outcome: self.outcomes.get(outcome, 0) + 1}  # another thread draws it
        self.before += done.before
        if outcome is not Outcome.SUCCEEDED and len(self._failures) < _MOST_FAILURES:
            self._failures.append((done.number, done.result))

    def line(self) -> str:
        """Say how far it is: done, failed, rate and time left, the last two only where they are known."""
        spent_s, made = self._monotonic_s() - self._began_s, self.done - self.before
        said = [f"{self.done} of {self._count}" if self._count is not None else f"{self.done} done"]
        if self.failed:
            said.append(f"{self.failed} did not succeed")
        if made and spent_s > 0:
            said.append(f"{made / spent_s:.1f}/s")
            if self._count is not None and self.done < self._count:
                said.append(f"{format_seconds((self._count - self.done) * spent_s / made)} left")
        return "  ".join(said)

    def lines(self) -> list[list[Piece]]:
        """Write the same with a bar, for the live view."""
        drawn = bar(self.done, self._count)
        return [[("bold", clip(self._name, 60)), ("", f"  {drawn}" if drawn else ""), ("dim", f"  {self.line()}")]]

    def summary(self, paint: Paint) -> list[str]:
        """Write what came of it: how many ended how, and the first that did not succeed."""
        spent = format_seconds(self._monotonic_s() - self._began_s)
        again = f", {self.before} of them from before" if self.before else ""
        most_first = sorted(self.outcomes.items(), key=lambda item: -item[1])
        rows = [[outcome.value, str(number)] for outcome, number in most_first]
        lines = [f"{clip(self._name, 100)}: {self.done} done in {spent}{again}", *table(rows, right=[1])]
        if self._failures:
            first = [
                [str(number), result.outcome.value, clip(_why(result), 60), result.run_id]
                for number, result in sorted(self._failures, key=lambda failure: failure[0])
            ]
            more = f", {self.failed - len(first)} more" if self.failed > len(first) else ""
            lines += [
                paint("bold", f"did not succeed{more}:"),
                *table([["input", "outcome", "why", "run"], *first], right=[0]),
            ]
        return lines


def _why(result: Result) -> str:
    error = result.errors[0] if result.errors else None
    return f"{error.type}: {error.message}".partition("\n")[0] if error else result.cause

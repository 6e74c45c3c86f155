"""A run's log from one end to the other, over all its attempts, from wherever somebody stopped reading."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from isolation.errors import InputError

if TYPE_CHECKING:
    from isolation.model.event import LogLine
    from isolation.storage.logs import Logs

_TEXT = re.compile(r"([1-9][0-9]{0,4})\.([0-9]{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a run's log: the attempt, and the bytes of its log that were read."""

    attempt: int = 1
    start: int = 0

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what ``str`` wrote; InputError for anything else."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise InputError(f"{text[:40]!r} is no place in a log", hint="Take `next` of the page before.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.attempt}.{self.start}"


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, each with the place after it; ``after`` is where to go on, and ``more``: something is there."""

    lines: list[tuple[LogLine, Cursor]]
    after: Cursor
    more: bool


def page_of(logs: Logs, run_id: str, cursor: Cursor, limit: int, *, only: bool = False) -> Page:
    """
    Read at most ``limit`` lines from a place on, over the attempts that follow unless ``only`` this one is wanted.

    InputError where no line begins at the place.
    """
    lines: list[tuple[LogLine, Cursor]] = []
    while True:
        later = [] if only else [number for number in logs.attempts(run_id) if number > cursor.attempt]
        # What follows was looked for first: an attempt's log is whole once the next one has begun.
        try:
            found = logs.page(run_id, cursor.attempt, cursor.start, limit - len(lines))
        except ValueError as error:
            raise InputError(str(error), hint="Take `next` of the page before.") from error
        lines += [(line, Cursor(cursor.attempt, end)) for line, end in found]
        cursor = lines[-1][1] if found else cursor
        if len(lines) == limit:
            return Page(lines, cursor, more=True)
        if not later:
            return Page(lines, cursor, more=False)
        cursor = Cursor(later[0])

"""
What the live list shows: the run so far, kept from its events, written as lines of painted pieces; no terminal here.

::

    sales  attempt 1, run  1.2 s  memory 31 MiB of 512 MiB  CPU 0.8 s
    ✓ extract     12 ms   9 ms
    ▸ transform  1.1 s
    · load
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from isolation.cli.marks import MARKS, STYLES
from isolation.cli.table import width
from isolation.cli.values import clip
from isolation.cli.words import cached_from
from isolation.model.event import Event, PhaseStarted, Retrying, RunStarted, Sampled, StepEnded, StepStarted
from isolation.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.policy import Limits
    from isolation.model.run import StepReport
    from isolation.model.usage import Sample

Piece = tuple[str, str]
"""A style of ``paint`` (or none), and text that is fit to be shown."""

_MOST_STEPS = 20
_FINISHED_ABOVE = 4


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    began_s: float | None = None
    report: StepReport | None = None


@dataclass(slots=True)
class Board:
    """The state of the live list. One thread changes it, another reads it: each field is replaced whole."""

    limits: Limits | None = None
    monotonic_s: Callable[[], float] = time.monotonic
    recipe: str = ""
    phase: str = "packing"
    attempt: int = 0
    news: str = ""
    sample: Sample | None = None
    began_s: float = 0.0
    rows: dict[str, _Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began_s = self.monotonic_s()

    def on_event(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self.recipe, self.phase = event.recipe, "starting"
                self.rows = {name: _Row(name) for name in event.steps}
            case PhaseStarted():
                self._enter(event)
            case StepStarted():
                self._put(replace(self._row(event.step), began_s=self.monotonic_s()))
            case StepEnded():
                self._put(replace(self._row(event.report.name), report=event.report))
            case Sampled():
                self.sample = event.sample
            case Retrying():
                self.news = retry_line(event)

    def lines(self) -> list[list[Piece]]:
        """Write the list as it is now."""
        rows = _window(list(self.rows.values()))
        widest = max((width(clip(row.name, 40)) for row in rows), default=0)
        lines = [self._header(), *(self._step(row, widest) for row in rows)]
        hidden = len(self.rows) - len(rows)
        if hidden:
            lines.append([("dim", f"  and {hidden} more steps")])
        return [*lines, [("yellow", self.news)]] if self.news else lines

    def _header(self) -> list[Piece]:
        attempt = f"attempt {self.attempt}, " if self.attempt else ""
        now = [f"{attempt}{clip(self.phase, 40)}", format_seconds(self.monotonic_s() - self.began_s)]
        if self.sample is not None:
            most = f" of {format_bytes(self.limits.memory_bytes)}" if self.limits else ""
            now += [
                f"memory {format_bytes(self.sample.memory_bytes)}{most}",
                f"CPU {format_seconds(self.sample.cpu_s)}",
            ]
        return [("bold", clip(self.recipe, 60)), ("dim", ("  " if self.recipe else "") + "  ".join(now))]

    def _step(self, row: _Row, widest: int) -> list[Piece]:
        shown = clip(row.name, 40)
        name = shown + " " * (widest - width(shown))
        if row.report is not None:
            spent = f"  {format_seconds(row.report.wall_s):>8}  {format_seconds(row.report.cpu_s):>8}"
            if row.report.cached_from:
                spent = f"  {clip(cached_from(row.report), 80)}"
            return [(STYLES[row.report.outcome], MARKS[row.report.outcome]), ("", f" {name}"), ("dim", spent)]
        if row.began_s is not None:
            return [("bold", "▸"), ("", f" {name}  {format_seconds(self.monotonic_s() - row.began_s):>8}")]
        return [("dim", f"· {shown}")]

    def _enter(self, event: PhaseStarted) -> None:
        if event.attempt > self.attempt:
            self.rows = {name: _Row(name) for name in self.rows}
            self.sample = None
        self.phase, self.attempt = event.phase, event.attempt

    def _row(self, name: str) -> _Row:
        return self.rows.get(name) or _Row(name)

    def _put(self, row: _Row) -> None:
        self.rows = {**self.rows, row.name: row}


def _window(rows: list[_Row]) -> list[_Row]:
    """Choose the rows around the first that is not finished."""
    first = next((number for number, row in enumerate(rows) if row.report is None), len(rows))
    start = max(0, min(first - _FINISHED_ABOVE, len(rows) - _MOST_STEPS))
    return rows[start : start + _MOST_STEPS]


def retry_line(event: Retrying) -> str:
    """Say that another attempt follows."""
    how = clip(event.outcome.replace("_", " "), 40)
    wait = f" in {format_seconds(event.wait_s)}" if event.wait_s else ""
    return f"attempt {event.attempt} ended: {how}; trying again{wait}"

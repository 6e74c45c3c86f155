"""
Shows a run while it goes on: a live list on a terminal, plain lines elsewhere.

======================  =================================  ============================
                        stderr is a terminal               stderr is none
======================  =================================  ============================
stdout is a terminal    live list if it lasts (rich)       lines
stdout is none          lines                              lines
``--json``              lines                              nothing
``--quiet``             nothing                            nothing
======================  =================================  ============================

A batch has a bar in the place of the list, also with ``--json`` where stdout is no terminal.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from isolation.cli.board import Board, retry_line
from isolation.cli.marks import STYLES
from isolation.cli.paint import Paint
from isolation.cli.values import clip
from isolation.cli.words import cached_from
from isolation.model.event import Event, Retrying, RunStarted, StepEnded
from isolation.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.live import Live

    from isolation.cli.live import Drawn
    from isolation.cli.tally import Tally
    from isolation.model.event import Watcher
    from isolation.model.policy import Limits
    from isolation.model.run import StepReport


_PATIENCE_S = 0.3
_LINE_EVERY_S = 10.0


@contextmanager
def watching(*, as_json: bool, quiet: bool, limits: Limits | None = None) -> Iterator[Watcher | None]:
    """Choose who watches the run; ``limits`` are the policy's, where they are known by now."""
    terminal = sys.stderr.isatty()
    if quiet or (as_json and not terminal):
        yield None
    elif terminal and not as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        board = Board(limits)
        with _shown_if_it_lasts(board):
            yield board
    else:
        yield Lines(sys.stderr, Paint.for_stream(sys.stderr))


@contextmanager
def counting(tally: Tally, *, as_json: bool, quiet: bool) -> Iterator[Callable[[], None]]:
    """Choose who watches a batch; what is given is to be called after each result."""
    terminal = sys.stderr.isatty()
    if quiet or (as_json and not terminal):
        yield lambda: None
    elif terminal and not (as_json and sys.stdout.isatty()) and os.environ.get("TERM") != "dumb":
        with _shown_if_it_lasts(tally):
            yield lambda: None
    else:
        yield Spaced(tally, sys.stderr).tell


class Spaced:
    """Writes how far a batch is, and not more often than people read it in a log."""

    def __init__(self, tally: Tally, stream: TextIO, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._stream = stream
        self._monotonic_s = monotonic_s
        self._told_s = monotonic_s()

    def tell(self) -> None:
        """Write a line, if the last is long enough ago."""
        now_s = self._monotonic_s()
        if now_s - self._told_s >= _LINE_EVERY_S:
            self._told_s = now_s
            self._stream.write(f"{self._tally.line()}\n")
            self._stream.flush()


@contextmanager
def _shown_if_it_lasts(board: Drawn) -> Iterator[None]:
    """Show the live list of a run that lasts; one that is over at once never waits for rich to be imported."""
    over, lock = threading.Event(), threading.Lock()
    showing: list[Live] = []

    def show() -> None:
        if over.wait(_PATIENCE_S):
            return
        from isolation.cli.live import live_view  # noqa: PLC0415 - slow to import

        view = live_view(board)
        with lock:
            if not over.is_set():
                view.start()
                showing.append(view)

    threading.Thread(target=show, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with lock:
            for view in showing:
                view.stop()


class Lines:
    """Writes a line for every step that ends, and for every attempt that is followed by another."""

    def __init__(self, stream: TextIO, paint: Paint = Paint()) -> None:  # noqa: B008 - frozen
        self._stream = stream
        self._paint = paint

    def on_event(self, event: Event) -> None:
        """Take one event."""
        line = self._line(event)
        if line:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def _line(self, event: Event) -> str:
        match event:
            case RunStarted():
                count = "1 step" if len(event.steps) == 1 else f"{len(event.steps)} steps"
                return f"run {clip(event.run_id, 64)} of {clip(event.recipe, 100)}: {count}"
            case StepEnded():
                return self._ended(event.report)
            case Retrying():
                return retry_line(event)
        return ""

    def _ended(self, report: StepReport) -> str:
        outcome = self._paint(STYLES[report.outcome], report.outcome.value)
        spent = "" if report.wall_s is None else f" in {format_seconds(report.wall_s)}"
        why = cached_from(report) or report.reason
        reason = f": {clip(why, 80)}" if why else ""
        return f"step {clip(report.name, 100)} ... {outcome}{spent}{reason}"

"""Progress: lines where nobody watches, a live list on a terminal, nothing hostile in either."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from isolation.cli.board import Board
from isolation.cli.live import live_view
from isolation.cli.progress import Lines
from isolation.model.event import (
    Event,
    LogLine,
    PhaseStarted,
    Retrying,
    RunStarted,
    Sampled,
    StepEnded,
    StepStarted,
)
from isolation.model.outcome import StepOutcome
from isolation.model.run import StepReport
from isolation.model.usage import Sample

if TYPE_CHECKING:
    from tests.cli.conftest import Make

EVENTS: tuple[Event, ...] = (
    RunStarted(run_id="20250102-030405-abcd", recipe="sales", steps=("extract", "load\x1b", "report")),
    PhaseStarted(phase="run", attempt=1),
    StepStarted(step="extract"),
    LogLine(step="extract", stream="stdout", text="not shown", at="2025-01-02T03:04:05.678Z"),
    StepEnded(report=StepReport(name="extract", outcome=StepOutcome.SUCCEEDED, wall_s=0.012, cpu_s=0.009)),
    Sampled(sample=Sample(at_s=1.0, cpu_s=0.5, memory_bytes=64 * 2**20)),
    StepStarted(step="load\x1b"),
)
AFTER: tuple[Event, ...] = (
    StepEnded(report=StepReport(name="report", outcome=StepOutcome.SKIPPED, reason="load failed")),
    Retrying(attempt=1, outcome="out_of_memory", cause="limits.memory", wait_s=2.0),
)


def shown(board: Board) -> list[str]:
    return ["".join(text for _, text in line) for line in board.lines()]


def test_lines_tell_each_step_as_it_ends() -> None:
    """One line a step, so that a log file reads like a report."""
    stream = io.StringIO()
    lines = Lines(stream)
    for event in (*EVENTS, *AFTER):
        lines.on_event(event)
    assert stream.getvalue() == (
        "run 20250102-030405-abcd of sales: 3 steps\n"
        "step extract ... succeeded in 12 ms\n"
        "step report ... skipped: load failed\n"
        "attempt 1 ended: out of memory; trying again in 2.0 s\n"
    )


def test_the_live_list_shows_what_ended_what_runs_and_what_comes(make: Make) -> None:
    """Memory stands against its limit."""
    now = [0.0]
    board = Board(make.policy.limits, monotonic_s=lambda: now[0])
    for event in EVENTS:
        board.on_event(event)
    now[0] = 3.0
    assert shown(board) == [
        "sales  attempt 1, run  3.0 s  memory 64 MiB of 512 MiB  CPU 500 ms",
        "✓ extract      12 ms      9 ms",
        "▸ load\\x1b     3.0 s",
        "· report",
    ]


def test_no_attempt_is_told_of_before_there_is_one() -> None:
    """What a recipe needs may take minutes to come; what is wrong with it is found then, and nothing was attempted."""
    board = Board(monotonic_s=lambda: 0.0)
    assert shown(board) == ["packing  0 ms"]
    board.on_event(RunStarted(run_id="r", recipe="sales", steps=("extract",)))
    assert shown(board) == ["sales  starting  0 ms", "· extract"]
    board.on_event(PhaseStarted(phase="claim", attempt=1))
    assert shown(board) == ["sales  attempt 1, claim  0 ms", "· extract"]


def test_a_step_that_did_not_run_names_the_run_that_made_what_it_took() -> None:
    """In both forms; a time would say that it ran."""
    step = StepReport(name="extract", outcome=StepOutcome.SUCCEEDED, cached_from="r\x1b1")
    stream, board = io.StringIO(), Board()
    for watcher in (Lines(stream), board):
        watcher.on_event(StepEnded(report=step))

    assert stream.getvalue() == "step extract ... succeeded: cached from r\\x1b1\n"
    assert shown(board)[1:] == ["✓ extract  cached from r\\x1b1"]


def test_another_attempt_begins_with_a_fresh_list() -> None:
    """What the first attempt did counts for nothing."""
    board = Board()
    for event in (*EVENTS, *AFTER, PhaseStarted(phase="create", attempt=2)):
        board.on_event(event)
    lines = shown(board)
    assert "attempt 2, create" in lines[0]
    assert lines[1:4] == ["· extract", "· load\\x1b", "· report"]
    assert lines[4] == "attempt 1 ended: out of memory; trying again in 2.0 s"


def test_a_long_recipe_is_shown_around_where_it_is() -> None:
    """A terminal has few lines, and a live list must not scroll."""
    board = Board()
    names = tuple(f"step{number}" for number in range(100))
    board.on_event(RunStarted(run_id="r", recipe="long", steps=names))
    for name in names[:50]:
        board.on_event(StepEnded(report=StepReport(name=name, outcome=StepOutcome.SUCCEEDED)))
    lines = shown(board)
    assert lines[1].startswith("✓ step46")
    assert lines[5] == "· step50"
    assert lines[-1] == "  and 80 more steps"


def test_the_terminal_gets_text_and_never_markup() -> None:
    """A step named like a markup tag is a name."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, markup=True, color_system=None)
    board = Board()
    with live_view(board, console):
        board.on_event(RunStarted(run_id="r", recipe="[red]sales[/red]", steps=("[bold]x\x1b]0;t\x07",)))
    text = stream.getvalue()
    assert "[red]sales[/red]" in text
    assert "[bold]x\\x1b]0;t\\x07" in text

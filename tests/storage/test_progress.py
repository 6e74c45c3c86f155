"""How far an attempt has come, as another process sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.errors import StorageError
from isolation.model.event import Event, LogLine, PhaseStarted, RunStarted, Sampled, StepEnded, StepStarted
from isolation.model.outcome import StepOutcome
from isolation.model.progress import Progress, StepProgress
from isolation.model.run import StepReport
from isolation.model.usage import Sample
from isolation.storage.progress import Progresses

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

STEPS = ("load", "count", "tell")
SAMPLE = Sample(at_s=0.5, cpu_s=0.25, memory_bytes=2**20, pids=3)


@pytest.fixture
def progress(tmp_path: Path) -> Progresses:
    return Progresses(tmp_path / "runs")


def telling(
    progress: Progresses, attempt: int = 1, told: list[Event] | None = None
) -> AbstractContextManager[Callable[[Event], None]]:
    """Tell of an attempt that begins now."""
    clock = SystemClock()
    tell = (told if told is not None else []).append
    return progress.telling("run", attempt, STEPS, tell, clock=clock, began_s=clock.monotonic_s())


def seen(progress: Progresses, recorded: int = 0) -> Progress:
    """Look, where something must be."""
    found = progress.of("run", recorded=recorded)
    assert found is not None
    return found


def test_each_event_is_seen_at_once(progress: Progresses) -> None:
    """Steps come to be under way and ended in the order of the plan, whatever order they begin in."""
    with telling(progress) as tell:
        assert [step.name for step in seen(progress).steps] == [*STEPS]
        tell(PhaseStarted(phase="run", attempt=1))
        tell(StepStarted(step="count"))
        tell(StepEnded(report=StepReport(name="load", outcome=StepOutcome.SKIPPED, reason="not wanted")))
        tell(Sampled(sample=SAMPLE))
        load, count, last = seen(progress).steps
        assert load == StepProgress(name="load", outcome=StepOutcome.SKIPPED, reason="not wanted")
        assert (count.outcome, count.wall_s) == (None, None)
        assert count.began_s is not None
        assert count.began_s >= seen(progress).phase_began_s > 0
        assert last == StepProgress(name="tell")
        tell(StepEnded(report=StepReport(name="count", outcome=StepOutcome.SUCCEEDED, wall_s=0.75)))
        assert seen(progress).steps[1] == StepProgress(
            name="count", began_s=count.began_s, wall_s=0.75, outcome=StepOutcome.SUCCEEDED
        )
        assert (seen(progress).phase, seen(progress).samples) == ("run", (SAMPLE,))


def test_all_is_told_on(progress: Progresses) -> None:
    """Also what is not kept: lines are in the log."""
    told: list[Event] = []
    events: list[Event] = [
        RunStarted(run_id="run", recipe="r", steps=STEPS),
        LogLine(step="load", stream="stdout", text="x", at=""),
        PhaseStarted(phase="run", attempt=1),
    ]
    with telling(progress, told=told) as tell:
        for event in events:
            tell(event)
        assert seen(progress).phase == "run"
    assert told == events


def test_it_ends_with_the_attempt(progress: Progresses) -> None:
    """However that ends."""
    with pytest.raises(ZeroDivisionError), telling(progress):
        raise ZeroDivisionError
    assert progress.of("run", recorded=0) is None
    assert progress.of("never", recorded=0) is None


def test_what_a_killed_process_left_is_not_another_attempts(progress: Progresses, tmp_path: Path) -> None:
    """It is read until that attempt is recorded as lost, or the next one goes on."""
    left = tmp_path / "runs" / "run" / "progress-1.jsonl"
    with telling(progress) as tell:
        tell(PhaseStarted(phase="claim", attempt=1))
        content = left.read_bytes()
    left.write_bytes(content + b'{"at_s": 1.0, "ph')  # cut off where it was killed
    assert seen(progress).phase == "claim"
    assert progress.of("run", recorded=1) is None
    with telling(progress, attempt=2):
        assert (seen(progress).attempt, seen(progress, recorded=1).attempt) == (2, 2)


def test_nobody_else_may_read_it(progress: Progresses, tmp_path: Path) -> None:
    """Names of steps are the recipe's."""
    with telling(progress):
        (path,) = (tmp_path / "runs" / "run").iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_where_nothing_can_be_kept_it_is_said(tmp_path: Path) -> None:
    """As for the log."""
    (tmp_path / "runs").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError), telling(Progresses(tmp_path / "runs")):
        pass

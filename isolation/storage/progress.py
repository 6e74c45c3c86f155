"""
How far the attempts under way have come, for whoever looks from another process.

One JSON object a line, in a file that is there as long as the attempt goes on::

    <state>/runs/<run id>/progress-<n>.jsonl    first {"began_at", "steps"}, then {"at_s", and one of
                                                "phase", "began" (a step), "ended" (a step), "sample"}

Who is killed leaves theirs behind; it is not read once the attempt is recorded, or another one goes on.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from isolation.clock import timestamp
from isolation.model.event import PhaseStarted, Sampled, StepEnded, StepStarted
from isolation.model.outcome import StepOutcome
from isolation.model.progress import Progress, StepProgress
from isolation.model.usage import Sample
from isolation.state.faults import storage_faults
from isolation.state.folders import make_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.model.event import Event

    _Document = dict[str, JsonValue]

_NAME = re.compile(r"progress-(\d+)\.jsonl", re.ASCII)


class Progresses:
    """The progress of all runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def telling(
        self,
        run_id: str,
        attempt: int,
        steps: Sequence[str],
        tell: Callable[[Event], None],
        *,
        clock: Clock,
        began_s: float,
    ) -> Iterator[Callable[[Event], None]]:
        """
        Give what takes an attempt's events for as long as the block lasts, and tells them on.

        The attempt began at ``began_s`` (monotonic).
        """
        path = self._folder / run_id / f"progress-{attempt}.jsonl"
        with storage_faults(self._folder):
            make_private(path.parent)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

        def write(document: _Document) -> None:
            with storage_faults(self._folder):
                os.write(file, json.dumps(document).encode() + b"\n")

        def take(event: Event) -> None:
            told = _document_of(event)
            if told:
                write({"at_s": round(clock.monotonic_s() - began_s, 6), **told})
            tell(event)

        try:
            began_at = clock.now() - timedelta(seconds=clock.monotonic_s() - began_s)
            write({"began_at": timestamp(began_at), "steps": [*steps]})
            yield take
        finally:
            os.close(file)
            with storage_faults(self._folder):
                path.unlink()

    def of(self, run_id: str, *, recorded: int) -> Progress | None:
        """
        Return how far the attempt under way has come; None where nothing is known of it here.

        ``recorded`` attempts of the run have ended, by the ledger.
        """
        folder = self._folder / run_id
        with storage_faults(self._folder):
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            newest = max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=0)
            if newest <= recorded:
                return None
            try:
                text = (folder / f"progress-{newest}.jsonl").read_bytes()
            except FileNotFoundError:  # it has ended meanwhile
                return None
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
        return _fold(newest, lines) if lines else None


def _document_of(event: Event) -> _Document:
    match event:
        case PhaseStarted():
            return {"phase": event.phase}
        case StepStarted():
            return {"began": event.step}
        case StepEnded(report=report):
            told: _Document = {"outcome": report.outcome.value, "wall_s": report.wall_s, "reason": report.reason}
            return {"ended": report.name, **told}
        case Sampled():
            return {"sample": asdict(event.sample)}
    return {}


def _fold(attempt: int, lines: Sequence[Mapping[str, Any]]) -> Progress:
    first, *rest = lines
    progress = Progress(attempt=attempt, began_at=first["began_at"])
    steps = {name: StepProgress(name=name) for name in first["steps"]}
    samples: list[Sample] = []
    for line in rest:
        if "phase" in line:
            progress = replace(progress, phase=line["phase"], phase_began_s=line["at_s"])
        elif "began" in line:
            steps[line["began"]] = StepProgress(name=line["began"], began_s=line["at_s"])
        elif "ended" in line:
            outcome, wall_s, reason = StepOutcome(line["outcome"]), line["wall_s"], line["reason"]
            steps[line["ended"]] = replace(steps[line["ended"]], outcome=outcome, wall_s=wall_s, reason=reason)
        else:
            samples.append(Sample(**line["sample"]))
    return replace(progress, steps=tuple(steps.values()), samples=tuple(samples))

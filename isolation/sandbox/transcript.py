"""
What one container has said so far, frame by frame, checked against the order that the contract allows.

    HELLO ─▶ per step: STEP_STARTED ─▶ LOG*, RECORD* ─▶ STEP_ENDED ─▶ … ─▶ ARTIFACT, CHUNK* ─▶ READING ─▶ END
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from isolation import contract
from isolation.contract import Malformed
from isolation.errors import ContextError
from isolation.model.changes import Changes, Reads
from isolation.model.event import StepEnded, StepStarted
from isolation.model.outcome import StepOutcome
from isolation.model.run import StepError, StepReport
from isolation.rules.redaction import NOTHING, Redaction
from isolation.rules.scope import covers
from isolation.sandbox.discretion import redact, refuse, written_secret
from isolation.sandbox.frames import (
    ArtifactFrame,
    ReadingFrame,
    RecordFrame,
    StepEndedFrame,
    StepStartedFrame,
    read_frame,
    read_greeting,
    read_log,
)
from isolation.sandbox.recall import Recall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.model.event import Event
    from isolation.sandbox.frames import CellView


_LINE_BYTES = 32
"""What a line or a record counts beyond its text, roughly what it costs to keep; else empty ones would be free."""
_REPORT_BYTES = 4096
"""How much of a step's end is not counted as its result: the frame's own words."""


class LogKeeper(Protocol):
    """Where a recipe's output goes."""

    def write(self, step: str, stream: str, content: bytes) -> None:
        """Take a piece of output, in order."""

    def record(self, step: str, level: str, message: str, fields: dict[str, JsonValue] | None = None) -> None:
        """Take a log record, and what its logger was told beside the message."""


class ArtifactKeeper(Protocol):
    """Where a recipe's files go."""

    def begin(self, name: str, size_bytes: int) -> None:
        """Begin a file. Raises Malformed for a name or a size that may not be."""

    def add(self, chunk: bytes) -> None:
        """Add a chunk to it."""


class Transcript:
    """Takes the frames of one attempt in; after ``ended`` it is complete and proven."""

    def __init__(
        self,
        steps: Sequence[str],
        write_scope: list[list[str]],
        *,
        clock: Clock,
        logs: LogKeeper,
        artifacts: ArtifactKeeper,
        tell: Callable[[Event], None],
        check_entry: Callable[[str, JsonValue], object],
        redaction: Redaction = NOTHING,
        read_scope: Sequence[Sequence[str]] = (),
        began_s: float | None = None,
        recall: Recall | None = None,
    ) -> None:
        self._steps = steps
        self._scope = write_scope
        self._read_scope = tuple(tuple(globs) for globs in read_scope)
        self._clock = clock
        self._attempt_began_s = clock.monotonic_s() if began_s is None else began_s
        self._logs = logs
        self._artifacts = artifacts
        self._tell = tell
        self._check_entry = check_entry
        self._redaction = redaction
        self.recall = recall or Recall()
        self._reports: dict[int, StepReport] = {}
        self._set: dict[str, JsonValue] = {}
        self._deleted: set[str] = set()
        self._writers: dict[str, str] = {}
        self._wrote_at: dict[str, int] = {}
        """By key: how many steps had written something when the run first wrote it."""
        self._began_at: dict[int, int] = {}
        """By step: how many steps had written something when its last try began; it saw what these wrote."""
        self._writes = 0
        self._reads: dict[str, str] = {}
        self._read_all: tuple[int, str] | None = None
        self._tries: dict[int, int] = {}
        self.running: dict[int, float] = {}
        """Steps under way, with the moment (monotonic) at which their present try began."""
        self.greeted = False
        self.view: CellView | None = None
        """What the runner told of its own confinement."""
        self.log_bytes = 0
        self.result_bytes = 0
        self.reading: ReadingFrame | None = None
        self.wrote_secret = False
        """Whether a step wrote a secret to the context: then nothing can be merged any more."""

    def take(self, kind: int, payload: bytes) -> None:
        """Take one frame in. Raises Malformed for one that does not fit, ImageError for an image of another time."""
        if not self.greeted:
            self._greet(kind, payload)
        elif kind == contract.LOG:
            index, stream, content = read_log(payload)
            self.log_bytes += len(content) + _LINE_BYTES * (1 + content.count(b"\n"))
            self._logs.write(self._name_running(index), stream, content)
        elif kind == contract.RECORD:
            self._record(read_frame(RecordFrame, payload))
        elif kind == contract.STEP_STARTED:
            self._start(read_frame(StepStartedFrame, payload))
        elif kind == contract.STEP_ENDED:
            self._settle(read_frame(StepEndedFrame, payload), len(payload))
        else:
            self._take_after_steps(kind, payload)

    def _record(self, frame: RecordFrame) -> None:
        record = frame.record
        fields_bytes = len(contract.dumps(record.fields)) if record.fields else 0
        self.log_bytes += len(record.message.encode()) + fields_bytes + _LINE_BYTES
        self._logs.record(self._name_running(frame.step), record.level, record.message, record.fields)

    def check_complete(self) -> None:
        """Raise Malformed unless every step was settled."""
        missing = [name for index, name in enumerate(self._steps) if index not in self._reports]
        if missing:
            raise Malformed(f"no word of the step {missing[0]!r}")

    def reports(self) -> tuple[StepReport, ...]:
        """Return a report for every step, in the order of the plan; UNKNOWN for those never settled."""
        return tuple(
            self._reports.get(index)
            or StepReport(name=name, outcome=StepOutcome.UNKNOWN, reason="" if index in self.running else "not started")
            for index, name in enumerate(self._steps)
        )

    def changes(self) -> Changes:
        """Return what the steps that succeeded want to change; the last writer of a key counts."""
        return Changes(set=dict(self._set), deleted=tuple(sorted(self._deleted)), writers=dict(self._writers))

    def reads(self) -> Reads:
        """Return what the steps that succeeded read of the shared context; what the run wrote before is its own."""
        if self._read_all is None:
            return Reads(keys=dict(self._reads), scope=self._read_scope)
        began, name = self._read_all
        own = frozenset(key for key, at in self._wrote_at.items() if at <= began)
        return Reads(keys=dict(self._reads), all_by=name, own=own, scope=self._read_scope)

    def _greet(self, kind: int, payload: bytes) -> None:
        if kind != contract.HELLO:
            raise Malformed("the first frame is no greeting")
        hello = read_greeting(payload)
        self.greeted = True
        self.view = hello.view

    def _start(self, frame: StepStartedFrame) -> None:
        name = self._name(frame.step)
        if frame.step in self._reports:
            raise Malformed(f"the step {name!r} started after its end")
        if frame.number != self._tries.get(frame.step, 0) + 1:
            raise Malformed(f"try {frame.number} of the step {name!r} out of turn")
        self._tries[frame.step] = frame.number
        self._began_at[frame.step] = self._writes
        self.running[frame.step] = self._clock.monotonic_s()
        if frame.number == 1:
            self._tell(StepStarted(step=name))

    def _settle(self, frame: StepEndedFrame, size_bytes: int) -> None:
        cached_from = ""
        if frame.cached is not None:
            frame, taken = self.recall.take(self._name(frame.step), frame)
            cached_from = taken.run_id
            size_bytes += len(taken.content().encode())
        self.result_bytes += max(0, size_bytes - _REPORT_BYTES)
        told = self._without_secrets(frame) if self._redaction else frame
        why_unkept = ""
        if told.outcome == "succeeded":
            why_unkept = self.recall.note(self._name(told.step), told, altered=told != frame)
        self._end(told, cached_from, why_unkept)

    def _without_secrets(self, frame: StepEndedFrame) -> StepEndedFrame:
        written = written_secret(frame, self._redaction) if frame.outcome == "succeeded" else ""
        if written:
            frame = refuse(frame, written)
            self.wrote_secret = True
        if secret := self._redaction.find(frame.outputs):
            self.recall.spoil()
            said = f"the step put the secret {secret} out; a mark stands in its place"
            self._logs.record(self._name(frame.step), "WARNING", said)
        return redact(frame, self._redaction)

    def _end(self, frame: StepEndedFrame, cached_from: str, why_unkept: str) -> None:
        name = self._name(frame.step)
        try_began_s = self.running.pop(frame.step, None)
        ran = try_began_s is not None
        need_not_run = frame.outcome in {"skipped", "disabled"} or frame.cached is not None
        if frame.step in self._reports or ran == need_not_run:
            raise Malformed(f"the step {name!r} ended out of turn")
        if not ran:
            self._began_at[frame.step] = self._writes  # what it took, it took as all of it was then
        if frame.outcome == "succeeded":
            self._note_reads(name, frame)
            self._adopt(name, frame)
        error = None
        if frame.error is not None:
            error = StepError(
                step=name, type=frame.error.type, message=frame.error.message, traceback=frame.error.traceback
            )
        report = StepReport(
            name=name,
            outcome=StepOutcome(frame.outcome),
            began_s=None if try_began_s is None else round(try_began_s - self._attempt_began_s, 6),
            wall_s=frame.wall_s,
            cpu_s=frame.cpu_s,
            import_s=self._import_s(frame, try_began_s),
            tries=frame.tries,
            cause=frame.cause if ran else "",
            reason=why_unkept if ran else frame.cause,
            cached_from=cached_from,
            error=error,
            outputs=frame.outputs,
            keys_read=tuple(sorted(frame.reads)),
            read_all=frame.read_all,
            keys_written=tuple(sorted({*frame.set, *frame.deleted})),
            keys_combined=tuple(sorted(frame.combined)),
            keys_dropped=tuple(sorted(frame.dropped)),
        )
        self._reports[frame.step] = report
        self._tell(StepEnded(report=report))

    def _import_s(self, frame: StepEndedFrame, try_began_s: float | None) -> float | None:
        """Believe what a step says of itself only as far as it can be: no longer than its try took, seen from here."""
        if frame.import_s is None or try_began_s is None:
            return None
        return min(frame.import_s, self._clock.monotonic_s() - try_began_s)

    def _note_reads(self, name: str, frame: StepEndedFrame) -> None:
        began = self._began_at.get(frame.step, 0)
        for key in frame.reads:
            if self._wrote_at.get(key, began + 1) > began and covers(self._read_scope, key):
                self._reads.setdefault(key, name)
        if frame.read_all and (self._read_all is None or began < self._read_all[0]):
            self._read_all = began, name

    def _adopt(self, name: str, frame: StepEndedFrame) -> None:
        for key in (*frame.set, *frame.deleted):
            try:
                self._check_entry(key, frame.set.get(key))
            except ContextError as error:
                raise Malformed(f"the step {name!r} wrote what cannot be: {error}") from error
            if not covers(self._scope, key):
                raise Malformed(f"the step {name!r} wrote {key!r}, which it may not, and its runner let it")
            writer = frame.writers.get(key, name)
            self._wrote_at.setdefault(key, self._writes + 1)
            self._writers[key] = name if writer == name else f"{name} as {writer[:200]}"
        self._writes += 1
        self._set.update(frame.set)
        self._deleted.difference_update(frame.set)
        for key in frame.deleted:
            self._set.pop(key, None)
            self._deleted.add(key)

    def _take_after_steps(self, kind: int, payload: bytes) -> None:
        self.check_complete()
        if kind == contract.ARTIFACT:
            artifact = read_frame(ArtifactFrame, payload)
            if artifact.size is None:
                said = f"the artifact {artifact.name!r} was not kept: {artifact.refused}"
                self.log_bytes += len(said.encode()) + _LINE_BYTES
                self._logs.record("", "WARNING", said)
            else:
                self._artifacts.begin(artifact.name, artifact.size)
        elif kind == contract.CHUNK:
            self._artifacts.add(payload)
        elif kind == contract.READING and self.reading is None:
            self.reading = read_frame(ReadingFrame, payload)
        else:
            raise Malformed(f"a frame of kind {kind} out of turn")

    def _name(self, index: int) -> str:
        if index >= len(self._steps):
            raise Malformed(f"there is no step {index}")
        return self._steps[index]

    def _name_running(self, index: int) -> str:
        if index not in self.running:
            raise Malformed(f"output of the step {self._name(index)!r}, which is not under way")
        return self._steps[index]

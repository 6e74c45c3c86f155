"""The order in which a runner may speak, and what is believed of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from isolation import contract
from isolation.clock import SystemClock
from isolation.context.value import check_entry
from isolation.contract import Malformed
from isolation.errors import ImageError
from isolation.model.changes import Changes, Reads
from isolation.model.event import StepEnded, StepStarted
from isolation.model.outcome import StepOutcome
from isolation.sandbox.transcript import Transcript

if TYPE_CHECKING:
    from pydantic import JsonValue

    from isolation.model.event import Event

HELLO = (contract.HELLO, {"contract": contract.CONTRACT_VERSION, "python": "3.11.2"})


class Kept:
    """Keeps what a transcript passes on."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.files: list[tuple[str, int]] = []
        self.events: list[Event] = []

    def write(self, step: str, stream: str, content: bytes) -> None:
        """Take a piece of output."""
        self.lines.append((step, stream, content.decode()))

    def record(self, step: str, level: str, message: str, fields: dict[str, JsonValue] | None = None) -> None:
        """Take a log record."""
        self.lines.append((step, level, f"{message} {fields}" if fields else message))

    def begin(self, name: str, size_bytes: int) -> None:
        """Begin a file."""
        self.files.append((name, size_bytes))

    def add(self, chunk: bytes) -> None:
        """Add a chunk to it."""
        name, size_bytes = self.files[-1]
        self.files[-1] = (name, size_bytes - len(chunk))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def transcript(kept: Kept) -> Transcript:
    return Transcript(
        ["load", "sum"],
        [["*"], ["sales.*", "total"]],
        clock=SystemClock(),
        logs=kept,
        artifacts=kept,
        tell=kept.events.append,
        check_entry=check_entry,
        read_scope=[["*"], ["sales.*", "total"]],
    )


def say(transcript: Transcript, *frames: tuple[int, object]) -> None:
    for kind, payload in frames:
        transcript.take(kind, payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def started(step: int, number: int = 1) -> tuple[int, object]:
    return contract.STEP_STARTED, {"step": step, "try": number}


def ended(step: int, outcome: str = "succeeded", **more: Any) -> tuple[int, object]:  # noqa: ANN401 - JSON
    return contract.STEP_ENDED, {"step": step, "outcome": outcome, "tries": 1, "cause": "", **more}


def log(step: int, text: bytes = b"hello\n", stream: int = 1) -> tuple[int, object]:
    return contract.LOG, contract.LOG_HEADER.pack(step, stream) + text


READING = (contract.READING, {"cpu_user_s": 0.5, "cpu_system_s": 0, "memory_peak_bytes": 1})
RECORD = {"level": "INFO", "logger": "x", "message": "hi", "fields": {"n": 1}, "at": 1.5}
BOTH = (started(0), ended(0), started(1), ended(1))


class Hand:
    """A clock that is moved by hand."""

    at_s = 100.0

    def monotonic_s(self) -> float:
        """Return what it was moved to."""
        return self.at_s

    def now(self) -> datetime:
        """Return a moment that says nothing."""
        return datetime(2026, 1, 1, tzinfo=UTC)


def test_what_a_step_says_of_its_import_is_bounded_by_its_try(kept: Kept) -> None:
    """It is the cell's word: no more of it is believed than can be true."""
    clock = Hand()
    transcript = Transcript(
        ["load", "sum", "save"],
        [["*"]],
        clock=clock,
        logs=kept,
        artifacts=kept,
        tell=kept.events.append,
        check_entry=check_entry,
        began_s=98.0,
    )
    say(transcript, HELLO)
    for step, told_s in enumerate((1e6, 0.125, None)):
        say(transcript, started(step))
        clock.at_s += 0.5
        say(transcript, ended(step, import_s=told_s))

    assert [report.import_s for report in transcript.reports()] == [0.5, 0.125, None]
    assert [report.began_s for report in transcript.reports()] == [2.0, 2.5, 3.0]


def test_a_step_that_never_ran_took_no_time(transcript: Transcript) -> None:
    """Whatever is said of it."""
    say(transcript, HELLO, ended(0, "skipped", import_s=1.0))

    assert (transcript.reports()[0].import_s, transcript.reports()[0].began_s) == (None, None)


def test_a_whole_run_is_told_in_order(transcript: Transcript, kept: Kept) -> None:
    """What the refusals below are measured against."""
    say(transcript, HELLO, started(0), log(0), (contract.RECORD, {"step": 0, "record": RECORD}))
    say(transcript, ended(0, set={"total": 3}, outputs={"n": 1}, wall_s=0.5), started(1), ended(1))
    say(transcript, (contract.ARTIFACT, {"name": "a", "size": 2, "refused": None}), (contract.CHUNK, b"xy"), READING)
    transcript.check_complete()

    assert kept.lines == [("load", "stdout", "hello\n"), ("load", "INFO", "hi {'n': 1}")]
    assert kept.files == [("a", 0)]
    assert transcript.changes() == Changes(set={"total": 3}, writers={"total": "load"})
    assert [type(event) for event in kept.events] == [StepStarted, StepEnded, StepStarted, StepEnded]
    first = transcript.reports()[0]
    assert (first.outcome, first.outputs, first.keys_written) == (StepOutcome.SUCCEEDED, {"n": 1}, ("total",))
    assert transcript.reading is not None


REFUSED: dict[str, tuple[tuple[tuple[int, object], ...], str]] = {
    "no greeting": ((started(0),), "the first frame is no greeting"),
    "two greetings": ((HELLO, HELLO), "no word of the step 'load'"),
    "a step that is not there": ((HELLO, started(2)), "there is no step 2"),
    "a negative step": ((HELLO, started(-1)), "step: Input should be greater than or equal to 0"),
    "the end of a step that never started": ((HELLO, ended(0)), "the step 'load' ended out of turn"),
    "two ends": ((HELLO, started(0), ended(0), started(0)), "the step 'load' started after its end"),
    "an end after the end": ((HELLO, started(0), ended(0), ended(0)), "the step 'load' ended out of turn"),
    "a start that was a second try": ((HELLO, started(0, 2)), "try 2 of the step 'load' out of turn"),
    "the same try twice": ((HELLO, started(0), started(0)), "try 1 of the step 'load' out of turn"),
    "a step that ran and was skipped": ((HELLO, started(0), ended(0, "skipped")), "the step 'load' ended out of turn"),
    "output of a step not under way": ((HELLO, log(1)), "output of the step 'sum', which is not under way"),
    "output of a step that has ended": ((HELLO, started(0), ended(0), log(0)), "output of the step 'load'"),
    "output of no step": ((HELLO, log(7)), "there is no step 7"),
    "output of no stream": ((HELLO, started(0), log(0, stream=3)), "a log frame of the stream 3"),
    "output without a header": ((HELLO, started(0), (contract.LOG, b"\0")), "a log frame without a header"),
    "a file before the steps' end": (
        (HELLO, started(0), ended(0), (contract.ARTIFACT, {"name": "a", "size": 1, "refused": None})),
        "no word of the step 'sum'",
    ),
    "a file of negative size": (
        (HELLO, *BOTH, (contract.ARTIFACT, {"name": "a", "size": -1, "refused": None})),
        "size: Input should be greater than or equal to 0",
    ),
    "two readings": ((HELLO, *BOTH, READING, READING), "a frame of kind 8 out of turn"),
    "tries without end": ((HELLO, *(started(0, number) for number in range(1, 203))), "try: Input should be less than"),
    "a frame that is not ours": ((HELLO, *BOTH, (contract.PLAN, b"")), "a frame of kind 16 out of turn"),
    "not JSON": ((HELLO, (contract.STEP_STARTED, b"{")), "not JSON"),
    "not an object": ((HELLO, (contract.STEP_STARTED, b"[]")), "StepStartedFrame"),
    "an unknown field": ((HELLO, ended(0, verdict="success")), "verdict: Extra inputs are not permitted"),
    "an outcome that is ours to say": ((HELLO, ended(0, "cancelled")), "outcome: Input should be"),
    "true for 1": ((HELLO, (contract.STEP_STARTED, {"step": True, "try": 1})), "step: Input should be a valid integer"),
    "a key beyond the scope": (
        (HELLO, started(0), ended(0, set={"secret": 1})),
        "the step 'load' wrote 'secret', which it may not, and its runner let it",
    ),
    "the deletion of a key beyond the scope": (
        (HELLO, started(0), ended(0, deleted=["secret"])),
        "the step 'load' wrote 'secret', which it may not, and its runner let it",
    ),
    "wrote what cannot be": (
        (HELLO, started(0), ended(0, set={"sales.\x1b": 1})),
        "the step 'load' wrote what cannot be",
    ),
    "a read of what cannot be a key": (
        (HELLO, started(0), ended(0, reads=["sales.\x1b"])),
        "reads.0: Value error, not a key of the context",
    ),
    "more reads than can be named": (
        (HELLO, started(0), ended(0, reads=["total"] * 1001)),
        "reads: List should have at most 1000 items",
    ),
    "a combined key that cannot be": (
        (HELLO, started(0), ended(0, combined=[""])),
        "combined.0: Value error, not a key of the context",
    ),
    "more fields than a record has": (
        (
            HELLO,
            started(0),
            (contract.RECORD, {"step": 0, "record": RECORD | {"fields": {str(n): n for n in range(33)}}}),
        ),
        "record.fields: Dictionary should have at most 32 items",
    ),
    "a negative time": ((HELLO, started(0), ended(0, wall_s=-1)), "wall_s: Input should be greater than"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_out_of_order_or_shape_is_malformed(transcript: Transcript, case: str) -> None:
    """Nothing is guessed: a runner that is off by one frame is not our runner any more."""
    frames, said = REFUSED[case]
    say(transcript, *frames[:-1])

    with pytest.raises(Malformed) as caught:
        say(transcript, frames[-1])

    assert said in str(caught.value)


def test_an_image_of_another_version_is_our_failure(transcript: Transcript) -> None:
    """No recipe is to blame for an image that was not rebuilt."""
    with pytest.raises(ImageError) as caught:
        say(transcript, (contract.HELLO, {"contract": 99, "python": "3", "uid": 1}))

    assert caught.value.hint == "Build it again with scripts/image."


def test_an_end_without_every_step_is_malformed(transcript: Transcript) -> None:
    """A step that is not spoken of did not succeed."""
    say(transcript, HELLO, started(0), ended(0))

    with pytest.raises(Malformed, match="no word of the step 'sum'"):
        transcript.check_complete()


def test_a_step_that_failed_changes_nothing(transcript: Transcript) -> None:
    """Whatever its report says that it set."""
    error = {"type": "E", "message": "m", "traceback": ""}
    say(transcript, HELLO, started(0), ended(0, "failed", set={"total": 1}, error=error))

    assert not transcript.changes()


def test_the_last_writer_of_a_key_counts(transcript: Transcript) -> None:
    """A key that was set and then deleted is deleted, and the other way round."""
    say(transcript, HELLO, started(0), ended(0, set={"total": 1, "sales.a": 1}, deleted=["sales.b"]))
    say(transcript, started(1), ended(1, set={"sales.b": 2}, deleted=["total"], writers={"sales.b": "audit"}))

    changes = transcript.changes()

    assert (changes.set, changes.deleted) == ({"sales.a": 1, "sales.b": 2}, ("total",))
    assert changes.writers == {"total": "sum", "sales.a": "load", "sales.b": "sum as audit"}


SCOPE = (("*",), ("sales.*", "total"))


def test_reads_are_of_the_shared_context_and_of_what_may_be_seen_there(transcript: Transcript) -> None:
    """Each by the first that did. What is beyond the scope nobody can have seen, whoever says so."""
    say(transcript, HELLO, started(0), ended(0, reads=["total", "secret"], read_all=False))
    say(transcript, started(1), ended(1, reads=["total", "sales.a"]))

    assert transcript.reads() == Reads(keys={"total": "load", "sales.a": "sum"}, scope=SCOPE)
    assert [report.keys_read for report in transcript.reports()] == [("secret", "total"), ("sales.a", "total")]


def test_what_the_run_wrote_before_a_step_began_is_no_read_of_the_shared_context(transcript: Transcript) -> None:
    """Two at once do not see each other; it counts when the last try began."""
    say(transcript, HELLO, started(0), started(1), ended(0, set={"total": 1, "sales.a": 1}))
    say(transcript, ended(1, reads=["total"], read_all=True))
    assert transcript.reads() == Reads(keys={"total": "sum"}, all_by="sum", scope=SCOPE)


def test_a_second_try_sees_what_was_written_meanwhile(transcript: Transcript) -> None:
    """So what it read there was the run's own."""
    say(transcript, HELLO, started(0), started(1), ended(0, set={"total": 1, "sales.a": 1}), started(1, 2))
    say(transcript, ended(1, reads=["total", "sales.b"], read_all=True, set={"sales.c": 1}))

    assert transcript.reads() == Reads(
        keys={"sales.b": "sum"}, all_by="sum", own=frozenset({"total", "sales.a"}), scope=SCOPE
    )


def test_what_a_failed_step_read_does_not_count(transcript: Transcript) -> None:
    """The run merges nothing; the record has it."""
    error = {"type": "E", "message": "m", "traceback": ""}
    say(transcript, HELLO, started(0), ended(0, "failed", reads=["total"], read_all=True, error=error))

    assert transcript.reads() == Reads(scope=SCOPE)
    assert (transcript.reports()[0].keys_read, transcript.reports()[0].read_all) == (("total",), True)


def test_the_record_tells_which_writes_were_combined_and_which_dropped(transcript: Transcript) -> None:
    """A change that gave way must not vanish without a word."""
    say(transcript, HELLO, started(0), ended(0, set={"total": 1}, combined=["total"], dropped=["sales.a"]))
    report = transcript.reports()[0]

    assert (report.keys_written, report.keys_combined, report.keys_dropped) == (("total",), ("total",), ("sales.a",))


def test_a_retried_step_is_announced_once(transcript: Transcript, kept: Kept) -> None:
    """Its second try is the same step to whoever watches."""
    say(transcript, HELLO, started(0), started(0, 2), ended(0))

    assert [type(event) for event in kept.events] == [StepStarted, StepEnded]


def test_a_step_under_way_when_all_stopped_is_unknown(transcript: Transcript) -> None:
    """It may have done all or nothing; one that never started says so."""
    say(transcript, HELLO, started(0))

    assert [(report.outcome, report.reason) for report in transcript.reports()] == [
        (StepOutcome.UNKNOWN, ""),
        (StepOutcome.UNKNOWN, "not started"),
    ]


def test_empty_lines_and_empty_records_count_too(transcript: Transcript) -> None:
    """Each is kept with its time and its step: a million of them would fill the host's disk for free."""
    empty = {"level": "", "logger": "", "message": "", "at": 0}
    say(transcript, HELLO, started(0), log(0, b"\n" * 10), (contract.RECORD, {"step": 0, "record": empty}))

    assert transcript.log_bytes == 10 + 32 * 11 + 32


def test_the_fields_of_a_record_count_too(transcript: Transcript) -> None:
    """They are kept as the message is."""
    record = {"level": "", "logger": "", "message": "", "fields": {"a": "b"}, "at": 0}
    say(transcript, HELLO, started(0), (contract.RECORD, {"step": 0, "record": record}))

    assert transcript.log_bytes == len('{"a":"b"}') + 32


def test_a_file_that_was_not_kept_is_told_in_the_log(transcript: Transcript, kept: Kept) -> None:
    """A file that a person waits for must not be missing without a word."""
    say(transcript, HELLO, *BOTH, (contract.ARTIFACT, {"name": "a", "size": None, "refused": "not a regular file"}))

    assert kept.lines == [("", "WARNING", "the artifact 'a' was not kept: not a regular file")]
    assert transcript.log_bytes == len(kept.lines[0][2]) + 32, "a line of the log is free"

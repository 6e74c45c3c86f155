"""What a step tells of itself has no secret in it, and what it writes to the context neither has nor hides one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from isolation import contract
from isolation.clock import SystemClock
from isolation.context.value import check_entry
from isolation.model.event import StepEnded
from isolation.model.outcome import StepOutcome
from isolation.model.secret import Secret
from isolation.rules.redaction import Redaction
from isolation.sandbox.transcript import Transcript

if TYPE_CHECKING:
    from pydantic import JsonValue

VALUE = "hunter22-hunter33"
MARK = "[secret TOKEN]"
Said = list[Any]


@pytest.fixture
def said() -> Said:
    return []


class Keeper:
    """Keeps what a transcript passes on, in one list."""

    def __init__(self, said: Said) -> None:
        self._said = said

    def write(self, step: str, stream: str, content: bytes) -> None:
        """Take a piece of output."""
        self._said.append((step, stream, content))

    def record(self, step: str, level: str, message: str, fields: dict[str, JsonValue] | None = None) -> None:
        """Take a log record."""
        self._said.append((step, level, f"{message} {fields}" if fields else message))

    def begin(self, name: str, size_bytes: int) -> None:
        """Begin a file."""

    def add(self, chunk: bytes) -> None:
        """Add a chunk to it."""


@pytest.fixture
def transcript(said: Said) -> Transcript:
    keeper = Keeper(said)
    made = Transcript(
        ["load", "sum"],
        [["*"]],
        clock=SystemClock(),
        logs=keeper,
        artifacts=keeper,
        tell=said.append,
        check_entry=check_entry,
        redaction=Redaction([Secret("TOKEN", VALUE)]),
    )
    say(made, contract.HELLO, {"contract": contract.CONTRACT_VERSION, "python": "3.11.2"})
    say(made, contract.STEP_STARTED, {"step": 0, "try": 1})
    return made


def say(transcript: Transcript, kind: int, payload: object) -> None:
    transcript.take(kind, json.dumps(payload).encode())


def end(transcript: Transcript, outcome: str = "succeeded", **more: object) -> None:
    say(transcript, contract.STEP_ENDED, {"step": 0, "outcome": outcome, "tries": 1, "cause": "", **more})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"set": {"a": 1, "b": ["x", {"y": f"<{VALUE}>"}]}}, "b"),
        ({"set": {"b": {VALUE.encode().hex(): 1}}}, "b"),
        ({"set": {f"b.{VALUE}": 1}}, f"b.{MARK}"),
        ({"deleted": [f"b.{VALUE}"]}, f"b.{MARK}"),
        ({"set": {"b": 1}, "writers": {"b": VALUE}}, "b"),
    ],
    ids=["in a value", "in a key of a value", "in a key", "in a deleted key", "as its writer"],
)
def test_a_step_that_writes_a_secret_to_the_context_has_failed(
    transcript: Transcript, said: Said, changes: dict[str, Any], key: str
) -> None:
    """Not altered and merged: that would be a lie. Nothing of the step is taken over."""
    end(transcript, outputs={"n": 1}, **changes)
    report = transcript.reports()[0]

    assert transcript.wrote_secret
    assert not transcript.changes()
    assert (report.outcome, report.cause, report.outputs) == (StepOutcome.FAILED, "secret_in_context", None)
    assert report.error is not None
    assert report.error.message == f"the step wrote the secret TOKEN to the context, under the key {key!r}"
    assert said[-1] == StepEnded(report=report)
    assert VALUE not in repr(said)


def test_what_a_step_puts_out_is_redacted_with_a_warning(transcript: Transcript, said: Said) -> None:
    """Its outputs are for people: they see where something is missing, and what."""
    end(transcript, outputs={"header": f"Bearer {VALUE}", "n": 3}, reads=["a", f"b.{VALUE}"], set={"a": 1})
    report = transcript.reports()[0]

    assert (report.outcome, report.outputs) == (StepOutcome.SUCCEEDED, {"header": f"Bearer {MARK}", "n": 3})
    assert (report.keys_read, report.read_all) == (("a", f"b.{MARK}"), True), "a key that nobody can name"
    assert said[-2] == ("load", "WARNING", "the step put the secret TOKEN out; a mark stands in its place")
    assert transcript.changes().set == {"a": 1}
    assert not transcript.wrote_secret


def test_how_a_step_failed_is_redacted(transcript: Transcript, said: Said) -> None:
    """Type, message and traceback; a part at an end that the runner cut counts."""
    error = {
        "type": f"lib.{VALUE}",
        "message": "x" * 3_990 + VALUE[:10],
        "traceback": VALUE[7:] + "\n" + "y" * 15_989,
    }
    end(transcript, "failed", cause=f"exit {VALUE}", error=error, set={VALUE: VALUE})
    report = transcript.reports()[0]

    assert (report.cause, report.keys_written) == (f"exit {MARK}", (MARK,))
    assert report.error is not None
    assert (report.error.type, report.error.message) == (f"lib.{MARK}", "x" * 3_990 + MARK)
    assert report.error.traceback == MARK + "\n" + "y" * 15_989
    assert VALUE not in repr(said)


def test_why_a_step_did_not_run_is_redacted(transcript: Transcript) -> None:
    """The runner's own words, which inside nobody can be sure of."""
    say(transcript, contract.STEP_ENDED, {"step": 1, "outcome": "skipped", "tries": 0, "cause": f"no {VALUE}"})

    assert transcript.reports()[1].reason == f"no {MARK}"


def test_a_step_without_a_secret_is_left_as_it_is(transcript: Transcript, said: Said) -> None:
    """No warning, no mark, and its changes count."""
    end(transcript, outputs={"n": 3}, set={"a": "hunter22"})

    assert transcript.reports()[0].outputs == {"n": 3}
    assert transcript.changes().set == {"a": "hunter22"}
    assert [one for one in said if isinstance(one, tuple)] == []

"""What a runner says of results that steps take, and of those that it leaves: what of it is believed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from isolation import contract
from isolation.clock import SystemClock
from isolation.context.value import check_entry
from isolation.contract import Malformed
from isolation.model.secret import Secret
from isolation.model.step_result import LARGEST_RESULT_BYTES, StepResult
from isolation.rules.redaction import NOTHING, Redaction
from isolation.sandbox.recall import Recall
from isolation.sandbox.transcript import Transcript
from tests.sandbox.test_transcript import HELLO, Kept, ended, say, started

if TYPE_CHECKING:
    from collections.abc import Callable

    Told = Callable[..., Transcript]

FOUND = "f" * 64
KEPT = StepResult(
    step="load",
    found=FOUND,
    reads=("a",),
    set={"total": 7},
    deleted=("old",),
    writers={"total": "load"},
    outputs={"n": 1},
    run_id="r1",
)
TAKEN = ended(0, tries=0, cached=0)
VALUE = "correct-horse-battery"


@pytest.fixture
def told() -> Told:
    """Make a transcript of the steps ``load`` and ``sum``, of which the first is cached, that has heard some frames."""

    def make(
        *frames: Any,  # noqa: ANN401 - as ``say`` takes them
        kept: tuple[StepResult, ...] = (KEPT,),
        redaction: Redaction = NOTHING,
        scope: tuple[str, ...] = ("*",),
    ) -> Transcript:
        keeper = Kept()
        transcript = Transcript(
            ["load", "sum"],
            [[*scope]],
            clock=SystemClock(),
            logs=keeper,
            artifacts=keeper,
            tell=keeper.events.append,
            check_entry=check_entry,
            redaction=redaction,
            read_scope=[["*"]],
            recall=Recall(["load"], {"load": kept}),
        )
        say(transcript, HELLO, *frames)
        return transcript

    return make


def test_a_step_that_took_a_result_has_what_we_kept(told: Told) -> None:
    """The runner says which, and nothing else of it: what it might say beside is not heard."""
    lie = ended(0, tries=0, cached=0, set={"total": 8}, reads=["b"], outputs={"n": 2}, combined=["x"], read_all=True)
    for frame in (TAKEN, lie):
        transcript = told(frame)
        report = transcript.reports()[0]

        assert (report.cached_from, report.tries, report.wall_s) == ("r1", 0, None)
        assert (report.outputs, report.keys_read, report.keys_written) == ({"n": 1}, ("a",), ("old", "total"))
        assert (report.read_all, report.keys_combined) == (False, ())
        assert (transcript.changes().set, transcript.changes().deleted) == ({"total": 7}, ("old",))
        assert transcript.reads().keys == {"a": "load"}
        assert transcript.recall.made() == ()


def test_what_it_took_after_the_run_wrote_it_is_no_read_of_the_shared_context(told: Told) -> None:
    """As for a step that runs."""
    kept = StepResult(step="load", found=FOUND, reads=("a", "b"), run_id="r1")
    transcript = told(started(1), ended(1, set={"a": 1}), TAKEN, kept=(kept,))

    assert transcript.reads().keys == {"b": "load"}


@pytest.mark.parametrize(
    "frames",
    [
        (ended(0, tries=0, cached=1),),
        (ended(1, tries=0, cached=0),),
        (ended(0, tries=1, cached=0),),
        (ended(0, "failed", tries=0, cached=0),),
        (ended(0, "skipped", tries=0, cached=0),),
        (started(0), TAKEN),
        (TAKEN, TAKEN),
        (TAKEN, started(0)),
        (started(1), ended(1, found=FOUND)),
        (started(1), ended(1, unkept="why")),
        (started(0), ended(0, found="f")),
        (ended(0, tries=0, cached=-1),),
        (ended(0, tries=0, cached=contract.MOST_KEPT),),
    ],
)
def test_what_cannot_be_is_refused(told: Told, frames: Any) -> None:  # noqa: ANN401 - as above
    """A result that is not there, a step that ran as well, one that is not cached."""
    with pytest.raises(Malformed):
        told(*frames)


def test_what_a_result_writes_is_held_to_the_scope_of_this_run(told: Told) -> None:
    """By the same lines as what a step says."""
    with pytest.raises(Malformed, match="which it may not"):
        told(TAKEN, scope=("other",))


def test_what_is_taken_counts_as_what_the_run_says(told: Told) -> None:
    """Else a limit of it would hold for one that runs alone."""
    large = StepResult(step="load", found=FOUND, outputs={"x": "y" * 9000}, run_id="r1")

    assert told(TAKEN, kept=(large,)).result_bytes > 9000 - 4096
    assert told(started(0), ended(0, outputs={"x": "y" * 9000})).result_bytes > 9000 - 4096


def test_what_a_step_made_of_what_it_found_may_be_kept(told: Told) -> None:
    """All that a later run needs to go on as if it had run."""
    end = ended(0, found=FOUND, reads=["a"], set={"total": 7}, deleted=["old"], writers={"total": "ann"}, outputs={})
    transcript = told(started(0), end, started(1), ended(1))

    (made,) = transcript.recall.made()

    assert made == StepResult(
        step="load", found=FOUND, reads=("a",), set={"total": 7}, deleted=("old",), writers={"total": "ann"}, outputs={}
    )
    assert [report.reason for report in transcript.reports()] == ["", ""]


def test_a_step_that_failed_leaves_nothing(told: Told) -> None:
    """Whatever its runner says."""
    assert told(started(0), ended(0, "failed", found=FOUND)).recall.made() == ()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"unkept": "it counts as having read all"}, "it counts as having read all"),
        ({"found": FOUND, "set": {f"k{n}": "x" * 60_000 for n in range(18)}}, f"{LARGEST_RESULT_BYTES} are kept at"),
    ],
)
def test_why_a_result_is_not_kept_is_told(told: Told, more: dict[str, Any], why: str) -> None:
    """Who asked for it wonders else why the step runs each time."""
    transcript = told(started(0), ended(0, **more))

    assert transcript.recall.made() == ()
    assert transcript.reports()[0].reason.startswith("its result is not kept: ")
    assert why in transcript.reports()[0].reason


def test_a_result_that_is_as_large_as_one_may_be_is_kept(told: Told) -> None:
    """And not one byte more."""
    bare = len(StepResult(step="load", found=FOUND, set={f"k{n}": "" for n in range(20)}).content())
    values = {f"k{n}": "x" * 52_000 for n in range(20)}
    values["k0"] += "x" * (LARGEST_RESULT_BYTES - bare - 20 * 52_000)

    for more, count in (("", 1), ("x", 0)):
        transcript = told(started(0), ended(0, found=FOUND, set={**values, "k0": values["k0"] + more}))
        assert len(transcript.recall.made()) == count


SECRET = Redaction([Secret("API_TOKEN", VALUE)])


def test_what_may_hold_a_secret_is_not_kept(told: Told) -> None:
    """Neither what the step said, nor what it found, once a step before it has put a secret out."""
    own = told(started(0), ended(0, found=FOUND, outputs={"x": VALUE}), redaction=SECRET)
    read = told(started(0), ended(0, found=FOUND, reads=[VALUE]), redaction=SECRET)
    anothers = told(
        started(1), ended(1, outputs={"x": VALUE}), started(0), ended(0, found=FOUND, outputs={}), redaction=SECRET
    )
    plain = told(started(1), ended(1, outputs={"x": 1}), started(0), ended(0, found=FOUND), redaction=SECRET)

    assert [len(one.recall.made()) for one in (own, read, anothers, plain)] == [0, 0, 0, 1]
    reasons = {one.reports()[0].reason for one in (own, read, anothers)}
    assert reasons == {"its result is not kept: it may hold a secret"}


def test_a_secret_that_is_taken_to_the_context_is_refused_like_one_that_is_said(told: Told) -> None:
    """It was none when the result was kept."""
    kept = StepResult(step="load", found=FOUND, set={"total": VALUE}, outputs={"x": VALUE}, run_id="r1")
    transcript = told(TAKEN, kept=(kept,), redaction=SECRET)

    assert transcript.wrote_secret
    assert (transcript.changes().set, transcript.reports()[0].outcome.value) == ({}, "failed")
    assert VALUE not in json.dumps(repr(transcript.reports()))

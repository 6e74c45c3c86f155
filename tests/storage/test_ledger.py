"""The ledger: one final state a run, found again by whatever name people give."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from isolation import owner
from isolation.errors import ContextError, InputError, RunEndedError, RunNotFoundError
from isolation.model.changes import Changes, Merge
from isolation.model.outcome import Outcome
from isolation.model.policy import MergeRule
from isolation.model.run import RunSummary
from isolation.owner import Owner, is_gone, this_process
from isolation.state.schema import runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isolation.context.store import ContextStore
    from isolation.model.run import Digests, Result
    from isolation.state.database import Database
    from isolation.storage.ledger import Ledger

    ResultOf = Callable[..., Result]


@pytest.fixture
def start(ledger: Ledger, digests: Digests) -> Callable[[str], int]:
    return lambda run_id: ledger.start(run_id, "quickstart", "default", digests, "t1")


def finish(ledger: Ledger, result: Result) -> None:
    with ledger.settling(result.run_id) as settling:
        settling.finish(result, "t2")


def test_a_result_is_read_as_it_was_recorded(ledger: Ledger, start: Callable[[str], int], result_of: ResultOf) -> None:
    """Every field of it, down to the types inside the recipe's own values."""
    result = result_of(
        "r1", changes=Changes(set={"a": 1, "b": 1.0, "c": True}), merge=Merge(status="merged", version=3)
    )
    start("r1")
    finish(ledger, result)

    assert ledger.get("r1") == result
    assert repr(ledger.get("r1")) == repr(result)
    assert ledger.attempts("r1") == result.attempts


def test_a_run_is_listed_from_its_beginning(
    ledger: Ledger, digests: Digests, start: Callable[[str], int], result_of: ResultOf
) -> None:
    """People look at the list while it runs."""
    result = result_of("r1", outcome=Outcome.FAILED)
    running = RunSummary(
        run_id="r1",
        recipe="quickstart",
        state="running",
        outcome=None,
        policy="default",
        submitted_at="t1",
        started_at="t1",
        finished_at=None,
        attempts=0,
        wall_s=None,
        digests=digests,
    )
    start("r1")
    assert ledger.list(10) == (running,)

    with ledger.settling("r1") as settling:
        settling.go_on(result.attempts[0], "t1", "t2")
    assert ledger.summary("r1") == replace(running, attempts=1, due_at="t2")

    result = replace(result, attempts=(result.attempts[0], replace(result.attempts[0], number=2)))

    finish(ledger, result)
    ended = replace(running, state="finished", outcome=Outcome.FAILED, finished_at="t2", attempts=2, wall_s=1.5)
    assert ledger.summary("r1") == ended


def test_runs_are_listed_last_begun_first(
    ledger: Ledger, digests: Digests, start: Callable[[str], int], result_of: ResultOf
) -> None:
    """In the order they began, whatever the clock said."""
    for run_id in ("c", "a", "b"):
        start(run_id)
    ledger.start("other", "etl", "default", digests, "t0")
    finish(ledger, result_of("a"))

    assert [run.run_id for run in ledger.list(3)] == ["other", "b", "a"]
    assert [run.run_id for run in ledger.list(10, recipe="quickstart")] == ["b", "a", "c"]
    assert [run.run_id for run in ledger.list(10, outcome=Outcome.SUCCEEDED)] == ["a"]


@pytest.mark.parametrize("end", ["finish", "abandon"])
def test_a_run_ends_once(
    ledger: Ledger, contexts: ContextStore, start: Callable[[str], int], result_of: ResultOf, end: str
) -> None:
    """Whoever comes second is told, and nothing of theirs is merged."""
    start("r1")
    if end == "finish":
        finish(ledger, result_of("r1"))
    else:
        ledger.abandon("r1", "t2")
    before = ledger.summary("r1")

    with pytest.raises(RunEndedError, match="the run r1 is already"), ledger.settling("r1"):
        pytest.fail("the block must not be entered")
    with pytest.raises(RunEndedError):
        ledger.abandon("r1", "t3")

    assert ledger.summary("r1") == before
    assert contexts.version() == 0


def test_finishing_twice_in_one_transaction_is_refused(
    ledger: Ledger, start: Callable[[str], int], result_of: ResultOf
) -> None:
    """The table of moves holds there too; and the first is undone with the second."""
    start("r1")

    with pytest.raises(RunEndedError), ledger.settling("r1") as settling:  # noqa: PT012 - the block is tested
        settling.finish(result_of("r1"), "t2")
        settling.finish(result_of("r1"), "t2")

    assert ledger.summary("r1").state == "running"


def test_the_result_of_another_run_is_refused(ledger: Ledger, start: Callable[[str], int], result_of: ResultOf) -> None:
    """A mix-up of ours must not become a record."""
    start("r1")

    with pytest.raises(ValueError, match="cannot be finished with the result of r2"), ledger.settling("r1") as settling:
        settling.finish(result_of("r2"), "t2")


def test_a_controller_of_an_earlier_epoch_cannot_finish(
    ledger: Ledger, database: Database, start: Callable[[str], int]
) -> None:
    """It was paused, another took its run over, and now it wakes up."""
    epoch = start("r1")
    with database.writing() as connection:
        connection.execute(update(runs).values(epoch=epoch + 1))

    with pytest.raises(RunEndedError, match="was taken over"), ledger.settling("r1", epoch):
        pytest.fail("the block must not be entered")


def merge_in(ledger: Ledger, contexts: ContextStore, result: Result | None, value: object = 1) -> None:
    snapshot = contexts.freeze(None, ["*"])
    changes = Changes(set={"a": value})  # type: ignore[dict-item]  # a test puts in what is no JSON
    with ledger.settling("r1") as settling:
        contexts.merge(settling.connection, snapshot, changes, MergeRule(), who="w", run_id="r1", at="t")
        if result is not None:
            settling.finish(result, "t2")


def test_the_merge_and_the_end_of_the_run_are_one(
    ledger: Ledger, contexts: ContextStore, start: Callable[[str], int], result_of: ResultOf
) -> None:
    """Both, as the block is left."""
    start("r1")

    merge_in(ledger, contexts, result_of("r1"))

    assert ledger.summary("r1").state == "finished"
    assert [entry.value for entry in contexts.list()] == [1]


def test_leaving_without_finish_undoes_the_merge_and_the_run_goes_on(
    ledger: Ledger, contexts: ContextStore, start: Callable[[str], int], result_of: ResultOf
) -> None:
    """So a conflict can be answered with another attempt."""
    start("r1")

    merge_in(ledger, contexts, None)
    assert ledger.summary("r1").state == "running"
    assert contexts.list() == ()

    merge_in(ledger, contexts, result_of("r1"))
    assert ledger.summary("r1").state == "finished"


def test_a_merge_that_fails_leaves_the_run_as_it_was(
    ledger: Ledger, contexts: ContextStore, start: Callable[[str], int], result_of: ResultOf
) -> None:
    """A failed attempt to end it has no effect at all."""
    start("r1")

    with pytest.raises(ContextError):
        merge_in(ledger, contexts, result_of("r1"), value=float("inf"))

    assert ledger.summary("r1").state == "running"
    assert contexts.list() == ()


def test_a_run_is_found_by_the_beginning_of_its_id(ledger: Ledger, start: Callable[[str], int]) -> None:
    """People type the first letters; a whole id counts even if another begins with it."""
    for run_id in ("abc", "abd", "ab"):
        start(run_id)

    assert ledger.resolve("abc") == "abc"
    assert ledger.resolve("ab") == "ab"
    assert ledger.resolve("last") == ledger.resolve("latest") == "ab"
    with pytest.raises(RunNotFoundError) as caught:
        ledger.resolve("a")
    assert str(caught.value) == "more than one run begins with 'a': ab, abc, abd"
    assert caught.value.hint == "Give more of the id."


@pytest.mark.parametrize("name", ["x", "", "%", "_", "*"])
def test_a_run_that_is_not_there_is_said_with_a_hint(ledger: Ledger, start: Callable[[str], int], name: str) -> None:
    """No character means anything but itself."""
    start("abc")

    with pytest.raises(RunNotFoundError) as caught:
        ledger.get(name)

    assert str(caught.value) == f"there is no run {name!r} in this state folder"
    assert caught.value.hint == "`isolation runs` lists them."


def test_before_the_first_run_last_is_nothing(ledger: Ledger) -> None:
    """The sentence says why."""
    with pytest.raises(RunNotFoundError, match="there are no runs yet"):
        ledger.resolve("last")


def test_a_whole_id_is_found_among_many_that_begin_with_it(ledger: Ledger, start: Callable[[str], int]) -> None:
    """Only some are looked at before one is called ambiguous."""
    start("a")
    for number in range(20):
        start(f"a{number}")

    assert ledger.resolve("a") == "a"


def test_a_run_without_a_result_says_why(ledger: Ledger, start: Callable[[str], int]) -> None:
    """It is there, but cannot be shown as a result."""
    start("r1")
    with pytest.raises(InputError, match="the run r1 has no result: it is still running"):
        ledger.get("r1")

    ledger.abandon("r1", "t2")
    with pytest.raises(InputError, match="the run r1 has no result: whoever ran it died"):
        ledger.get("r1")


def test_where_the_system_tells_nothing_the_number_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a system without /proc."""
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    kept = owner._boot, owner._named
    for one in kept:
        one.cache_clear()
    try:
        assert this_process() == Owner(boot="", pid=os.getpid(), started="")
        assert not is_gone(this_process())
        assert is_gone(Owner(boot="", pid=2**22 + 1, started=""))
    finally:
        for one in kept:
            one.cache_clear()

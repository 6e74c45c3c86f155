"""The queue: whose turn it is, once, and never for what was cancelled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import IdempotencyError, InputError, QueueFullError, RunNotFoundError, TooLateError
from isolation.model.outcome import Outcome
from isolation.storage import queue as queue_module
from isolation.storage.ledger import Ledger
from isolation.storage.queue import Claim, Queue, Submission

if TYPE_CHECKING:
    from isolation.model.run import Digests
    from isolation.state.database import Database
    from tests.conftest import ResultOf

NOW = "2026-01-01T00:00:00.000Z"
TIMES = 24
LATER = "2026-01-01T00:00:10.000Z"


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


@pytest.fixture
def wanted(digests: Digests) -> Submission:
    new = replace(digests, snapshot="", image="")  # both are known when it begins
    return Submission(run_id="r1", recipe="etl", policy="default", digests=new, inputs_digest="n")


def take(queue: Queue, now: str = NOW) -> Claim:
    claim = queue.claim(now)
    assert claim is not None
    return claim


def take_all(queue: Queue) -> list[str]:
    found = []
    while (claim := queue.claim(NOW)) is not None:
        found.append(claim.run_id)
    return found


def test_a_run_is_taken_once(queue: Queue, wanted: Submission, ledger: Ledger) -> None:
    """And is listed all the while."""
    queue.submit(wanted, NOW)
    assert (ledger.summary("r1").state, queue.waiting()) == ("queued", {"default": 1})

    claim = take(queue)

    assert claim == Claim(namespace="default", run_id="r1", epoch=1, lost=0, waited_s=0.0)
    assert queue.claim(NOW) is None
    assert (ledger.summary("r1").state, queue.waiting()) == ("running", {})


def test_many_who_take_at_once_take_each_run_once(queue: Queue, wanted: Submission) -> None:
    """Two workers on one run would be two merges, but for the epoch."""
    for number in range(40):
        queue.submit(replace(wanted, run_id=f"r{number}"), NOW)

    with ThreadPoolExecutor(8) as pool:
        taken = [run_id for found in pool.map(lambda _: take_all(queue), range(8)) for run_id in found]

    assert sorted(taken) == sorted(f"r{number}" for number in range(40))


def test_the_highest_priority_goes_first_and_then_the_first_submitted(queue: Queue, wanted: Submission) -> None:
    """Negative ones go last."""
    for run_id, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)):
        queue.submit(replace(wanted, run_id=run_id, priority=priority), NOW)

    assert take_all(queue) == ["b", "d", "a", "c", "e"]


def test_no_namespace_holds_up_another(database: Database, wanted: Submission) -> None:
    """However much it submits, and with whatever priority: they take turns."""
    for number in range(5):
        Queue(database, "greedy").submit(replace(wanted, run_id=f"g{number}", priority=99), NOW)
    for number in range(2):
        Queue(database, "modest").submit(replace(wanted, run_id=f"m{number}"), NOW)

    assert take_all(Queue(database)) == ["g0", "m0", "g1", "m1", "g2", "g3", "g4"]


def test_who_has_fewer_running_goes_first(database: Database, wanted: Submission, result_of: ResultOf) -> None:
    """Long runs count for as long as they are."""
    for name in ("a", "b"):
        for number in range(3):
            Queue(database, name).submit(replace(wanted, run_id=f"{name}{number}"), NOW)
    queue = Queue(database)
    assert [take(queue).run_id for _ in range(4)] == ["a0", "b0", "a1", "b1"]
    for run_id in ("b0", "b1"):
        with Ledger(database, "b").settling(run_id) as settling:
            settling.finish(result_of(run_id), NOW)

    assert [take(queue).run_id, *take_all(queue)] == ["b2", "a2"]


def test_a_run_that_waits_for_its_next_attempt_is_taken_when_it_is_due(
    queue: Queue, wanted: Submission, ledger: Ledger, result_of: ResultOf
) -> None:
    """Nobody waits for it meanwhile."""
    queue.submit(wanted, NOW)
    claim = take(queue)
    attempt = result_of("r1", outcome=Outcome.FAILED).attempts[0]
    with ledger.settling("r1", claim.epoch) as settling:
        settling.park(attempt, NOW, LATER, afresh=False)

    assert queue.claim("2026-01-01T00:00:09.999Z") is None
    assert (ledger.summary("r1").state, ledger.summary("r1").due_at) == ("queued", LATER)
    assert take(queue, LATER) == Claim(namespace="default", run_id="r1", epoch=2, lost=0, waited_s=0.0)
    assert ledger.attempts("r1") == (attempt,)


def test_who_takes_a_run_is_told_how_long_it_waited(queue: Queue, wanted: Submission, ledger: Ledger) -> None:
    """Since it was submitted, or put back: what was before is not this attempt's. A clock set back tells nothing."""
    queue.submit(wanted, NOW)
    first = take(queue, LATER)
    ledger.give_back("r1", first.epoch, LATER)
    again = take(queue, "2026-01-01T00:00:12.500Z")
    ledger.give_back("r1", again.epoch, LATER)

    assert [first.waited_s, again.waited_s, take(queue, NOW).waited_s] == [10.0, 2.5, None]


def test_a_clock_that_is_set_back_ends_a_wait(
    queue: Queue, wanted: Submission, ledger: Ledger, result_of: ResultOf
) -> None:
    """Else a retry in ten seconds would be one in an hour and ten seconds."""
    queue.submit(wanted, NOW)
    claim = take(queue)
    with ledger.settling("r1", claim.epoch) as settling:
        settling.park(result_of("r1").attempts[0], NOW, LATER, afresh=False)

    assert queue.claim(NOW) is None
    assert take(queue, "2025-12-31T23:00:00.000Z").run_id == "r1"


def test_the_same_key_is_the_same_run(queue: Queue, wanted: Submission, ledger: Ledger, database: Database) -> None:
    """Also after it has run, and also when the answers come in another order; in another namespace it is another."""
    assert queue.submit(replace(wanted, key="nightly"), NOW) == "r1"
    assert queue.submit(replace(wanted, run_id="r2", key="nightly"), LATER) == "r1"
    take(queue)
    assert queue.submit(replace(wanted, run_id="r3", key="nightly"), LATER) == "r1"
    assert [run.run_id for run in ledger.list(9)] == ["r1"]

    assert Queue(database, "other").submit(replace(wanted, run_id="r4", key="nightly"), NOW) == "r4"
    with pytest.raises(IdempotencyError, match="'nightly' was given to another run, r1"):
        queue.submit(replace(wanted, run_id="r5", inputs_digest="other", key="nightly"), NOW)


def test_a_key_says_what_a_run_repeats_too(queue: Queue, wanted: Submission) -> None:
    """A rerun is no replay, and one of another run, or with another context, is another."""
    ways: list[dict[str, Any]] = [
        {},
        {"replay_of": "r1"},
        {"rerun_of": "r1"},
        {"rerun_of": "r1", "fresh": True},
        {"rerun_of": "r0"},
    ]
    for number, first in enumerate(ways):
        one = replace(wanted, run_id=f"a{number}", key=f"k{number}", **first)
        assert queue.submit(one, NOW) == queue.submit(replace(one, run_id="again"), LATER) == f"a{number}"
        for other in [*ways[:number], *ways[number + 1 :]]:
            unlike = replace(wanted, run_id="other", key=f"k{number}", **other)
            with pytest.raises(IdempotencyError, match="which repeats another, or otherwise"):
                queue.submit(unlike, NOW)


def test_submissions_with_one_key_at_once_are_one_run(queue: Queue, wanted: Submission, ledger: Ledger) -> None:
    """Whoever gets no answer asks again, perhaps while the first question is still under way."""
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda number: queue.submit(replace(wanted, run_id=f"r{number}", key="k"), NOW), range(TIMES))

    assert len({*found}) == 1
    assert len(ledger.list(99)) == 1


def test_a_full_queue_refuses_and_others_still_submit(
    database: Database, queue: Queue, wanted: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until some have run."""
    monkeypatch.setattr(queue_module, "MOST_WAITING", 3)
    for number in range(3):
        queue.submit(replace(wanted, run_id=f"r{number}", key=f"k{number}"), NOW)

    with pytest.raises(QueueFullError, match="3 runs of the namespace 'default' wait"):
        queue.submit(replace(wanted, run_id="r3"), NOW)
    assert queue.submit(replace(wanted, run_id="again", key="k1"), NOW) == "r1"
    assert Queue(database, "other").submit(replace(wanted, run_id="o1"), NOW) == "o1"
    take(queue)
    take(queue)
    assert queue.submit(replace(wanted, run_id="r4"), NOW) == "r4"


def test_a_run_that_waits_is_cancelled_at_once(queue: Queue, wanted: Submission, ledger: Ledger) -> None:
    """It has a result like any other, without an attempt."""
    queue.submit(wanted, NOW)

    assert ledger.cancel("r1", LATER)

    assert queue.claim(NOW) is None
    result = ledger.get("r1")
    assert (result.outcome, result.attempts, result.engine, result.digests.snapshot) == (
        Outcome.CANCELLED,
        (),
        None,
        "",
    )
    with pytest.raises(TooLateError, match="the run r1 has ended before: cancelled"):
        ledger.cancel("r1", LATER)


def test_a_running_run_is_told_and_merges_no_more(queue: Queue, wanted: Submission, ledger: Ledger) -> None:
    """Whoever settles it sees that somebody was promised its end."""
    queue.submit(wanted, NOW)
    claim = take(queue)
    with ledger.settling("r1", claim.epoch) as settling:
        assert not settling.cancelled

    assert not ledger.cancel("r1", LATER)

    assert ledger.summary("r1").cancelled_at == LATER
    with ledger.settling("r1", claim.epoch) as settling:
        assert settling.cancelled


def test_a_run_in_another_namespace_cannot_be_seen_or_cancelled(database: Database, wanted: Submission) -> None:
    """Tenants do not meet."""
    Queue(database, "one").submit(wanted, NOW)
    other = Ledger(database, "other")

    assert other.list(9) == ()
    for ask in (other.get, other.summary, other.record, lambda run: other.cancel(run, NOW)):
        with pytest.raises(InputError, match="there is no run 'r1'"):
            ask("r1")


def test_several_are_put_into_the_queue_all_or_none(
    queue: Queue, wanted: Submission, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room for all of them, none is taken."""
    monkeypatch.setattr("isolation.storage.queue.MOST_WAITING", 3)
    queue.submit(replace(wanted, run_id="r0", key="k0"), NOW)
    several = [replace(wanted, run_id=f"r{number}", key=f"k{number}") for number in range(4, 7)]
    with pytest.raises(QueueFullError):
        queue.submit_all(several, NOW)
    assert queue.waiting() == {"default": 1}

    again = replace(wanted, run_id="r9", key="k0")
    assert queue.submit_all([several[0], again, several[1]], NOW) == ("r4", "r0", "r5")
    assert [run.run_id for run in ledger.list(9)] == ["r5", "r4", "r0"]
    assert {rest: run.run_id for rest, run in ledger.keyed("k").items()} == {"0": "r0", "4": "r4", "5": "r5"}


def test_runs_are_found_by_both_ends_of_their_keys(queue: Queue, wanted: Submission, ledger: Ledger) -> None:
    """No sign of a key stands for others; the last submitted comes first, page by page."""
    for number, key in enumerate(("b:one:1", "b:one:11", "b:t_o:1", "b:tool:2", "c:one:1", "b%:1", "B:one:1", None)):
        queue.submit(replace(wanted, run_id=f"r{number}", key=key), NOW)

    def found(beginning: str, limit: int = 9, before: str | None = None) -> list[tuple[str, str]]:
        return [(rest, run.run_id) for rest, run in ledger.keyed_so(beginning, ":1", limit, before)]

    assert found("b:") == [("t_o", "r2"), ("one", "r0")]
    assert found("b:t_o") == [("", "r2")]
    assert found("b:to_") == found("b:%") == []
    assert found("b:", limit=1) == [("t_o", "r2")]
    assert found("b:", before="r2") == [("one", "r0")]


def test_what_is_made_again_waits_with_all_that_it_had(
    queue: Queue, wanted: Submission, ledger: Ledger, digests: Digests
) -> None:
    """Snapshot and image of the record, and of which run it is."""
    queue.submit(replace(wanted, digests=digests, rerun_of="r0"), NOW)
    queue.submit(replace(wanted, run_id="r2", digests=digests, replay_of="r0"), NOW)
    queue.submit(replace(wanted, run_id="r3"), NOW)
    records = [ledger.record(run_id) for run_id in ("r1", "r2", "r3")]
    assert [(record.rerun_of, record.replay_of) for record in records] == [("r0", ""), ("", "r0"), ("", "")]
    assert [record.digests.snapshot for record in records] == [digests.snapshot, digests.snapshot, ""]


def test_a_list_goes_on_before_a_run(queue: Queue, wanted: Submission, ledger: Ledger) -> None:
    """So a long one comes in pages, that do not shift as runs are added."""
    for number in range(5):
        queue.submit(replace(wanted, run_id=f"r{number}"), NOW)
    assert [run.run_id for run in ledger.list(2, before="r3")] == ["r2", "r1"]
    with pytest.raises(RunNotFoundError):
        ledger.list(2, before="r9")

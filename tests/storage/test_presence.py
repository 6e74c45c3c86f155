"""Who runs runs, and what becomes of the runs of one who is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, update

from isolation.errors import RunEndedError
from isolation.model.outcome import Outcome
from isolation.owner import this_process
from isolation.state.schema import controllers
from isolation.storage.ledger import Ledger
from isolation.storage.presence import LEASE_S, Lookout, Presence
from isolation.storage.queue import Queue, Submission

if TYPE_CHECKING:
    from isolation.model.run import Digests
    from isolation.state.database import Database


class Process:
    """A process on the database: its presence, its ledger and its queue."""

    def __init__(self, database: Database, name: str) -> None:
        self.presence = Presence(database)
        self.presence.controller_id = name
        self.ledger = Ledger(database, presence=self.presence)
        self.queue = Queue(database, presence=self.presence)


@pytest.fixture
def ours(database: Database) -> Process:
    return Process(database, "ours")


@pytest.fixture
def theirs(database: Database) -> Process:
    return Process(database, "theirs")


def submit(process: Process, run_id: str, digests: Digests) -> None:
    wanted = Submission(run_id=run_id, recipe="etl", policy="default", digests=digests, inputs_digest="n")
    process.queue.submit(wanted, "2026-01-01T00:00:00.000Z")


def test_one_is_gone_only_if_its_process_has_surely_ended(database: Database, digests: Digests) -> None:
    """To call a living run abandoned would throw its work away."""
    us = this_process()
    boot, namespace, _machine = us.boot.split(" ")
    changes: dict[str, dict[str, str | int]] = {
        "living": {},
        "rebooted": {"owner_boot": us.boot.replace(boot, "another-boot")},
        "rebooted, of the first release": {"owner_boot": f"another-boot {namespace}"},
        "on another machine": {"owner_boot": f"another-boot {namespace} another-machine"},
        "reused": {"owner_started": "1"},
        "elsewhere": {"owner_boot": f"{boot} pid:[1]", "owner_pid": 2**22 + 1},
    }
    for name, values in changes.items():
        Process(database, name).ledger.start(name, "etl", "default", digests, "2026-01-01T00:00:01.000Z")
        with database.writing() as connection:
            connection.execute(
                update(controllers).where(controllers.c.controller_id == name).values(owner_pid=us.pid, **values)
                if "owner_pid" not in values
                else update(controllers).where(controllers.c.controller_id == name).values(**values)
            )

    assert {other.controller_id for other in Presence(database).gone()} == {
        "rebooted",
        "rebooted, of the first release",
        "reused",
    }


def test_whose_beat_stands_still_for_a_lease_is_gone(ours: Process, theirs: Process, digests: Digests) -> None:
    """By the watcher's own clock: none is compared with another's."""
    theirs.ledger.start("r1", "etl", "default", digests, "2026-01-01T00:00:01.000Z")
    lookout = Lookout(ours.presence)

    assert lookout.stale(100.0) == ()
    assert lookout.stale(100.0 + LEASE_S - 0.1) == ()
    assert theirs.presence.beat()
    assert lookout.stale(100.0 + LEASE_S) == ()
    assert lookout.stale(100.0 + 2 * LEASE_S - 0.1) == ()
    (stale,) = lookout.stale(100.0 + 2 * LEASE_S)
    assert stale.controller_id == "theirs"


def test_a_watcher_that_could_not_look_for_a_lease_begins_anew(
    ours: Process, theirs: Process, digests: Digests
) -> None:
    """When a database comes back after half a minute, whoever looks first must not bury all who could not beat."""
    theirs.ledger.start("r1", "etl", "default", digests, "2026-01-01T00:00:01.000Z")
    lookout = Lookout(ours.presence)

    assert lookout.stale(100.0) == ()
    assert lookout.stale(100.0 + LEASE_S) == ()
    assert lookout.stale(100.0 + 1.5 * LEASE_S) == ()
    assert len(lookout.stale(100.0 + 2 * LEASE_S)) == 1


def test_who_has_no_run_yet_was_not_taken_for_dead(ours: Process, theirs: Process, digests: Digests) -> None:
    """A first run's requirements may take longer to install than a beat; it would be cancelled, and by nobody."""
    assert theirs.presence.beat()
    theirs.ledger.start("r1", "etl", "default", digests, "2026-01-01T00:00:01.000Z")
    (seen,) = ours.presence.others()
    ours.presence.bury(seen, "2026-01-01T00:00:02.000Z")

    assert [theirs.presence.beat() for _ in range(2)] == [False, True]


def test_one_that_beat_again_is_not_buried(ours: Process, theirs: Process, digests: Digests) -> None:
    """Between the look and the deed it came back."""
    theirs.ledger.start("r1", "etl", "default", digests, "2026-01-01T00:00:01.000Z")
    (seen,) = ours.presence.others()
    assert theirs.presence.beat()

    assert ours.presence.bury(seen, "2026-01-01T00:00:02.000Z").abandoned == ()
    assert ours.ledger.summary("r1").state == "running"


def test_the_runs_of_one_who_is_gone_are_abandoned_or_wait_again(
    ours: Process, theirs: Process, digests: Digests
) -> None:
    """Whoever started a run by hand went with its process; whoever submitted one still wants it."""
    theirs.ledger.start("by-hand", "etl", "default", digests, "2026-01-01T00:00:01.000Z")
    submit(theirs, "submitted", digests)
    claim = theirs.queue.claim("2026-01-01T00:00:01.000Z")
    assert claim is not None
    (seen,) = ours.presence.others()

    buried = ours.presence.bury(seen, "2026-01-01T00:00:02.000Z")

    assert (buried.requeued, buried.abandoned) == (("submitted",), ("by-hand",))
    assert not theirs.presence.beat()
    again = ours.queue.claim("2026-01-01T00:00:03.000Z")
    assert again is not None
    assert (again.run_id, again.epoch, again.lost) == ("submitted", claim.epoch + 1, 1)


def test_a_run_that_was_cancelled_does_not_wait_for_another(ours: Process, theirs: Process, digests: Digests) -> None:
    """Who cancelled it was told that it will end; whoever was to end it died, or put it back."""
    for run_id in ("r1", "r2"):
        submit(theirs, run_id, digests)
        theirs.queue.claim("2026-01-01T00:00:01.000Z")
        assert not ours.ledger.cancel(run_id, "2026-01-01T00:00:02.000Z")
    theirs.ledger.give_back("r2", 1, "2026-01-01T00:00:03.000Z")
    (seen,) = ours.presence.others()

    buried = ours.presence.bury(seen, "2026-01-01T00:00:04.000Z")

    assert (buried.requeued, buried.abandoned) == ((), ())
    assert [ours.ledger.get(run_id).outcome for run_id in ("r1", "r2")] == [Outcome.CANCELLED] * 2


def test_what_was_put_back_before_it_began_does_not_count(ours: Process, digests: Digests) -> None:
    """It would be given up for what was never its fault."""
    submit(ours, "r1", digests)
    for begun, lost in ((False, 0), (True, 0), (False, 1), (True, 1)):
        claim = ours.queue.claim("2026-01-01T00:00:01.000Z")
        assert claim is not None
        assert claim.lost == lost
        ours.ledger.give_back("r1", claim.epoch, "2026-01-01T00:00:01.000Z", begun=begun)


def test_who_was_paused_past_its_lease_can_finish_nothing(ours: Process, theirs: Process, digests: Digests) -> None:
    """While it waits for another, and when another has it."""
    submit(theirs, "r1", digests)
    claim = theirs.queue.claim("2026-01-01T00:00:01.000Z")
    assert claim is not None
    (seen,) = ours.presence.others()
    ours.presence.bury(seen, "2026-01-01T00:00:02.000Z")

    for _ in range(2):
        with pytest.raises(RunEndedError, match="taken over"), theirs.ledger.settling("r1", claim.epoch):
            pytest.fail("the block must not be entered")
        with pytest.raises(RunEndedError, match="taken over"):
            theirs.ledger.give_back("r1", claim.epoch, "2026-01-01T00:00:03.000Z")
        ours.queue.claim("2026-01-01T00:00:03.000Z")


def test_who_leaves_is_no_more_there_unless_it_still_has_a_run(database: Database, digests: Digests) -> None:
    """One that leaves a run behind must be found."""
    one, another = Process(database, "one"), Process(database, "another")
    one.ledger.start("r1", "etl", "default", digests, "2026-01-01T00:00:01.000Z")
    another.ledger.start("r2", "etl", "default", digests, "2026-01-01T00:00:01.000Z")
    another.ledger.abandon("r2", "2026-01-01T00:00:02.000Z")

    one.presence.leave()
    another.presence.leave()

    assert [other.controller_id for other in Presence(database).others()] == ["one"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_no_look_at_who_runs_what_goes_through_all_runs_that_ever_were(
    ours: Process, theirs: Process, database: Database, digests: Digests
) -> None:
    """Workers look every few seconds, and runs are kept for ever."""
    submit(theirs, "r1", digests)
    theirs.queue.claim("2026-01-01T00:00:01.000Z")
    asked: list[tuple[str, object]] = []
    with database.reading() as connection:
        engine = connection.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _u, said, given, *_: asked.append((said, given)))

    ours.presence.cancelled()
    theirs.presence.held()
    (other,) = ours.presence.others()
    ours.presence.runs_of(other)
    theirs.presence.leave()
    ours.presence.bury(other, "2026-01-01T00:00:02.000Z")

    selects = [(said, given) for said, given in asked if said.startswith("SELECT") and "FROM runs" in said]
    with database.reading() as connection:
        plans = [
            " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", given))  # type: ignore[arg-type]
            for said, given in selects
        ]
    assert len(plans) >= 5
    assert [plan for plan in plans if not plan.startswith("SEARCH runs USING")] == []

"""What a worker meets that is no run's fault: an engine away, an answer lost, blobs gone, nobody listening."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock, timestamp
from isolation.context.store import ContextStore
from isolation.controller import Controller
from isolation.errors import DatabaseLostError
from isolation.model.event import StepEnded
from isolation.model.outcome import Outcome
from isolation.sandbox.cells import Cells
from isolation.sandbox.leases import Leases
from isolation.storage.ledger import Ledger
from isolation.storage.queue import Queue
from isolation.stores import Stores
from isolation.testing import IMAGE, FakeEngine, answering
from isolation.worker import Told, Worker
from tests.site import WRITE, Site, policy, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.model.event import Event
    from isolation.storage.moves import Settling
    from isolation.storage.queue import Claim

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, None)
    yield made
    made.stores.close()


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine(answering({"count": 1}))


@pytest.fixture
def open_controller(site: Site, fake: FakeEngine) -> Callable[[], Controller]:
    """Make a controller on the fake engine."""

    def make() -> Controller:
        cells = Cells(fake, Leases(site.folder / "uids"), local=False, use_groups=False)
        return Controller(stores=Stores(site.state), engine=fake, cells=cells, clock=SystemClock(), image=IMAGE)

    return make


@contextmanager
def working(open_controller: Callable[[], Controller]) -> Iterator[list[Told]]:
    """Run the queue in a thread beside the block, until it is empty."""
    told: list[Told] = []
    with open_controller() as controller:
        worker = Worker(controller, slots=2, clean=lambda: (), tell=told.append)
        thread = threading.Thread(target=worker.run, kwargs={"until_empty": True})
        thread.start()
        try:
            yield told
            thread.join(60)
            assert not thread.is_alive()
        finally:
            worker.stop()
            thread.join()


def test_while_the_engine_is_away_nothing_is_taken_nor_lost(
    site: Site, fake: FakeEngine, open_controller: Callable[[], Controller]
) -> None:
    """Else one worker beside its dead engine would take run after run from the others, and lose each."""
    run_ids = [site.submit(WRITE) for _ in range(3)]
    fake._gone = True
    with working(open_controller) as told:
        until(lambda: "returned" in [one.what for one in told])
        asked = fake.asked.count("image_id")
        until(lambda: fake.asked.count("image_id") > asked)
        fake._gone = False

    results = [site.wait(run_id) for run_id in run_ids]
    assert [[attempt.outcome for attempt in result.attempts] for result in results] == [[Outcome.SUCCEEDED]] * 3
    assert len([one for one in told if one.what == "returned"]) <= 2


@pytest.mark.parametrize("blob", ["package", "policy", "a file"])
def test_what_cannot_be_had_any_more_ends_the_run(
    site: Site, open_controller: Callable[[], Controller], blob: str
) -> None:
    """It would be taken and put back for ever."""
    run_id = site.submit(WRITE)
    digests = site.stores.ledger.summary(run_id).digests
    kept = {"package": digests.package, "policy": digests.policy}
    for digest in [kept[blob]] if blob in kept else {*site.stores.blobs.digests()} - {*kept.values()}:
        if site.stores.blobs.get(digest) != b"{}":  # the values
            site.stores.blobs.remove(digest)

    with working(open_controller) as told:
        until(lambda: "ended" in [one.what for one in told])

    result = site.wait(run_id)
    assert result.outcome is (Outcome.REFUSED if blob in kept else Outcome.LOST)
    if blob in kept:
        assert f"the blob {kept[blob]} is not in" in result.errors[0].message


def test_a_claim_whose_answer_is_lost_is_put_back(
    site: Site, open_controller: Callable[[], Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database says that this worker has it, and nobody else may take it as long as the worker lives."""
    monkeypatch.setattr("isolation.worker._REAP_S", 0.1)
    claim = Queue.claim
    lost: list[Claim] = []

    def claims(queue: Queue, now: str) -> Claim | None:
        found = claim(queue, now)
        if found is not None and not lost:
            lost.append(found)
            raise DatabaseLostError("its answer was lost")
        return found

    monkeypatch.setattr(Queue, "claim", claims)
    run_id = site.submit(WRITE)
    with working(open_controller):
        site.until(run_id, lambda run: run.state == "finished")

    assert [attempt.outcome for attempt in site.wait(run_id).attempts] == [Outcome.LOST, Outcome.SUCCEEDED]


def test_a_worker_that_nobody_hears_ends_what_it_has_and_stops(
    site: Site, open_controller: Callable[[], Controller]
) -> None:
    """As with `isolation worker | head -1`."""
    run_id = site.submit(WRITE)

    def tell(_: Told) -> None:
        raise BrokenPipeError

    with open_controller() as controller, pytest.raises(BrokenPipeError):
        Worker(controller, slots=1, clean=lambda: (), tell=tell).run()

    assert site.stores.ledger.get(run_id).outcome is Outcome.SUCCEEDED


def lose_the_first_end(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object], *, kept: bool) -> None:
    """Let the first transaction that settles an attempt be kept or not, and its answer be lost in any case."""
    settling = Ledger.settling
    lost: list[str] = []

    @contextmanager
    def loses(ledger: Ledger, run_id: str, epoch: int = 1) -> Iterator[Settling]:
        if lost:
            with settling(ledger, run_id, epoch) as found:
                yield found
            return
        lost.append(run_id)
        with settling(ledger, run_id, epoch) as found:
            yield found
            found._settled &= kept
        meanwhile()
        raise DatabaseLostError("its answer was lost")

    monkeypatch.setattr(Ledger, "settling", loses)


def test_an_end_that_another_recorded_is_not_told_as_ours(
    site: Site, open_controller: Callable[[], Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database was away the run was taken from us, and its first attempt is recorded: as lost."""
    run_id = site.submit(WRITE, policy=policy(retry={"lost": {"attempts": 1}}))

    def another_takes_it() -> None:
        presence = site.stores.presence
        presence.bury(presence.others()[0], timestamp(SystemClock().now()))
        claim = site.stores.queue.claim(timestamp(SystemClock().now()))
        assert claim is not None
        with open_controller() as another:
            another.carry_on(claim, cancel=threading.Event(), released=threading.Event())

    lose_the_first_end(monkeypatch, another_takes_it, kept=False)
    with working(open_controller) as told:
        pass

    assert site.wait(run_id).outcome is Outcome.LOST
    assert [one.what for one in told] == ["taken", "fenced"]


def test_a_conflict_whose_answer_is_lost_is_run_again_on_a_fresh_snapshot(
    site: Site, open_controller: Callable[[], Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each further attempt would meet the same conflict."""
    site.submit(WRITE)

    class Meanwhile:
        def on_event(self, event: Event) -> None:
            if isinstance(event, StepEnded) and site.stores.contexts.version() == 0:
                site.stores.contexts.set("count", 7, "ann", "2026-01-01T00:00:00.000Z")

    lose_the_first_end(monkeypatch, lambda: None, kept=True)
    with open_controller() as controller:
        recipe = next(path.parent for path in site.folder.glob("*/recipe.yaml"))
        result = controller.run(recipe, policy=policy(merge={"on_conflict": "rerun"}), watcher=Meanwhile())

    assert [attempt.outcome for attempt in result.attempts] == [Outcome.CONFLICT, Outcome.SUCCEEDED]


def test_a_database_that_is_away_when_an_attempt_begins_is_asked_again(
    site: Site, open_controller: Callable[[], Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was run yet; no attempt is lost for it."""
    for kind, method in ((Ledger, "record"), (ContextStore, "freeze"), (Ledger, "begin")):
        lose_the_first_answer(monkeypatch, kind, method)
    run_id = site.submit(WRITE)

    with working(open_controller) as told:
        pass

    assert [attempt.outcome for attempt in site.wait(run_id).attempts] == [Outcome.SUCCEEDED]
    assert [one.what for one in told] == ["taken", "returned", "taken", "ended"]


def lose_the_first_answer(monkeypatch: pytest.MonkeyPatch, kind: type, method: str) -> None:
    does = getattr(kind, method)
    lost: list[object] = []

    def loses(*given: object) -> object:
        answer = does(*given)
        if not lost:
            lost.append(answer)
            raise DatabaseLostError("its answer was lost")
        return answer

    monkeypatch.setattr(kind, method, loses)

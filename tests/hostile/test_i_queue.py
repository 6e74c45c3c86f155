"""Faults of the queue: runs that kill who runs them, bursts, floods."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from isolation.errors import QueueFullError
from isolation.model.outcome import Outcome
from isolation.storage.queue import MOST_WAITING, Queue, Submission
from tests.site import COUNT, WAIT_FOR_A_KEY, Site, containers_of, count, policy, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.model.run import Digests
    from isolation.state.database import Database

pytestmark = pytest.mark.xdist_group("clean")  # workers clean up what others kill
engine = pytest.mark.usefixtures("engine")
DEATHS = (1, 3)
BURST = 300
SLOTS = 8


@pytest.fixture
def site(tmp_path: Path, url: str | None) -> Iterator[Site]:
    made = Site(tmp_path, url)
    yield made
    made.stores.close()


@pytest.mark.engine
@engine
@pytest.mark.parametrize("attempts", DEATHS)
def test_row_145_a_run_whose_controllers_all_die_is_given_up(site: Site, attempts: int) -> None:
    """As often as the policy tries a lost attempt; nothing of the dead one's is left, and one merge is made."""
    lost = policy(retry={"lost": {"attempts": attempts}})
    run_id = site.submit(WAIT_FOR_A_KEY, context={"seconds": 300}, policy=lost)
    for number in range(attempts):
        doomed = site.start()
        until(lambda: bool(containers_of(f"{run_id}-{number + 1}")))  # noqa: B023 - called at once
        doomed.send_signal(signal.SIGKILL)
        doomed.communicate()

    told = site.work()

    result = site.wait(run_id)
    assert (result.outcome, result.cause) == (Outcome.LOST, "controller")
    assert [attempt.cause for attempt in result.attempts] == ["controller"] * attempts
    assert next(one.what for one in told if one.run_id == run_id) == "recovered"
    assert containers_of(run_id) == []
    assert count(site) is None


@pytest.mark.engine
@engine
@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_row_162_a_burst_of_three_hundred_is_held_back_and_not_failed(site: Site) -> None:
    """Never more containers than slots; each run succeeds, each is counted."""
    most, over = 0, threading.Event()

    def watch() -> int:
        most = 0
        while not over.wait(0.2):
            ours = [name for name in containers_of("isolation-") if name.removeprefix("isolation-")[:-2] in submitted]
            most = max(most, len(ours))
        return most

    submitted = [site.submit(COUNT, policy=policy(merge={"on_conflict": "add"})) for _ in range(BURST)]
    with ThreadPoolExecutor(1) as beside:
        watching = beside.submit(watch)
        told = site.work(slots=SLOTS)
        over.set()
        most = watching.result()

    assert sorted(one.run_id for one in told if one.what == "ended") == sorted(submitted)
    assert {one.detail for one in told if one.what == "ended"} == {"succeeded"}
    assert count(site) == BURST
    assert 0 < most <= SLOTS


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_row_163_a_flood_is_bounded_and_holds_up_nobody_else(database: Database, digests: Digests) -> None:
    """Ten thousand wait, the next is refused; another tenant's run goes next, and our memory stays."""
    flooding, other = Queue(database, "flooding"), Queue(database, "other")
    before = psutil.Process().memory_info().rss

    def submission(run_id: str) -> Submission:
        return Submission(
            run_id=run_id, recipe="r" * 100, policy="default", digests=digests, inputs_digest="n", priority=999
        )

    for number in range(MOST_WAITING):
        flooding.submit(submission(f"f{number}"), "2026-01-01T00:00:00.000Z")
    for number in range(3):
        with pytest.raises(QueueFullError):
            flooding.submit(submission(f"g{number}"), "2026-01-01T00:00:00.000Z")
    other.submit(submission("o1"), "2026-01-01T00:00:00.000Z")
    claims = [other.claim("2026-01-01T00:00:01.000Z") for _ in range(2)]

    assert {claim.namespace for claim in claims if claim} == {"flooding", "other"}
    assert other.waiting() == {"flooding": MOST_WAITING - 1}
    assert psutil.Process().memory_info().rss - before < 64 * 2**20

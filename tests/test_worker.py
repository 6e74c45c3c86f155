"""Workers on the real engine: each run that was submitted ends once, whatever becomes of whoever runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import isolation
from isolation import wiring
from isolation.errors import TooLateError
from isolation.model.outcome import Outcome
from isolation.settings import load_settings
from isolation.storage import presence
from isolation.stores import Stores
from tests.postgresql import Server
from tests.site import COUNT, ISOLATION, WAIT_FOR_A_KEY, WRITE, Site, containers_of, count, policy, until
from tests.storage.pg_proxy import LosesACommit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.worker import Told


pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine"), pytest.mark.xdist_group("clean")]

FAIL = """
def run(context, params):
    raise TimeoutError("not today")
"""

MOMENTS = (
    "taken",
    "freeze",
    "claim",
    "attest",
    "deliver",
    "run",
    "StepStarted",
    "StepEnded",
    "collect",
    "remove",
    "merge",
    "the end",
)
DIES = """
import os, signal, sys, threading
from isolation import wiring
from isolation.settings import load_settings

class Dies:
    def on_event(self, event):
        if getattr(event, "phase", type(event).__name__) == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGKILL)

with wiring.open_controller(load_settings()) as controller:
    claim = controller.stores.queue.claim("2026-01-01T00:00:00.000Z")
    if sys.argv[1] != "taken":
        controller.carry_on(claim, cancel=threading.Event(), released=threading.Event(), watcher=Dies())
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def site(tmp_path: Path, url: str | None) -> Iterator[Site]:
    made = Site(tmp_path, url)
    yield made
    made.stores.close()


def test_what_is_submitted_is_run_once_and_merged(site: Site) -> None:
    """By two workers at once, with two slots each: nothing is counted twice, and nothing is lost."""
    submitted = [site.submit(COUNT, policy=policy(merge={"on_conflict": "add"})) for _ in range(6)]

    with ThreadPoolExecutor(2) as pool:
        told = [one for found in pool.map(lambda _: site.work(), range(2)) for one in found]

    assert sorted(one.run_id for one in told if one.what == "ended") == sorted(submitted)
    assert {site.wait(run_id).outcome for run_id in submitted} == {Outcome.SUCCEEDED}
    assert count(site) == 6
    with Stores(site.state, site.url) as stores:
        assert stores.presence.others() == ()


def test_a_retry_waits_in_the_queue_and_holds_no_slot(site: Site) -> None:
    """With one slot, another run is run meanwhile; each attempt is kept with what it was."""
    patient = policy(retry={"failed": {"attempts": 2, "wait": "3s"}})
    failing = site.submit(FAIL, policy=patient)
    with site.working(slots=1):
        site.until(failing, lambda run: run.attempts == 1)
        assert site.stores.ledger.summary(failing).state == "queued"
        assert site.wait(site.submit(COUNT)).outcome is Outcome.SUCCEEDED
        assert site.stores.ledger.summary(failing).attempts == 1
        result = site.wait(failing)

    assert [attempt.outcome for attempt in result.attempts] == [Outcome.FAILED] * 2
    assert result.attempts == site.stores.ledger.attempts(failing)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_that_dies_at_any_moment_costs_an_attempt_and_no_more(site: Site, moment: str) -> None:
    """Another makes the next, unless the first had recorded the end; either way there is one end, and one merge."""
    run_id = site.submit(COUNT, policy=policy(retry={"lost": {"attempts": 2}}))
    died = subprocess.run(
        [sys.executable, "-c", DIES, moment], env=site.environment, capture_output=True, text=True, check=False
    )
    assert (died.returncode, died.stderr) == (-signal.SIGKILL, "")

    site.work()

    result = site.wait(run_id)
    outcomes = [attempt.outcome for attempt in result.attempts]
    assert outcomes == ([] if moment == "the end" else [Outcome.LOST]) + [Outcome.SUCCEEDED]
    assert result.attempts == site.stores.ledger.attempts(run_id)
    assert [entry.run_id for entry in site.stores.contexts.history("count")] == [run_id]

    def left() -> list[str]:
        # The engine may have made what the dead one asked for after the second had looked; whoever looks next finds it.
        wiring.clean_up(load_settings(state=site.state, database=site.url), dry_run=False)
        return containers_of(run_id)

    until(lambda: left() == [])


def test_a_worker_that_was_paused_past_its_lease_merges_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another has run it meanwhile; when the first wakes up, it is told, and goes on with other runs."""
    monkeypatch.setattr(presence, "LEASE_S", 1.0)
    monkeypatch.setattr("isolation.worker._REAP_S", 0.2)
    run_id = site.submit(WAIT_FOR_A_KEY, context={"seconds": 2}, policy=policy(retry={"lost": {"attempts": 3}}))
    paused = site.start()
    site.until_under_way(run_id)
    paused.send_signal(signal.SIGSTOP)

    with site.working() as told:
        result = site.wait(run_id)
        paused.send_signal(signal.SIGCONT)
        assert paused.stdout is not None
        said = [json.loads(paused.stdout.readline())["what"] for _ in range(2)]
        paused.send_signal(signal.SIGTERM)
        out, err = paused.communicate(timeout=60)

    assert [attempt.outcome for attempt in result.attempts] == [Outcome.LOST, Outcome.SUCCEEDED]
    assert "recovered" in [one.what for one in told]
    assert (said, out, err) == (["taken", "fenced"], "", "")
    assert [entry.value for entry in site.stores.contexts.history("count")] == [1]


def test_a_worker_that_is_told_to_stop_ends_what_it_has_and_takes_no_more(site: Site) -> None:
    """The first signal is a request."""
    first = site.submit(WAIT_FOR_A_KEY, context={"seconds": 1})
    second = site.submit(COUNT)
    process = site.start("--slots", "1")
    site.until_under_way(first)

    process.send_signal(signal.SIGTERM)

    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert site.stores.ledger.get(first).outcome is Outcome.SUCCEEDED
    assert site.stores.ledger.summary(second).state == "queued"


def test_a_worker_that_is_told_twice_puts_back_what_it_has(site: Site) -> None:
    """Nobody waits for an hour's run; the attempt is kept, and another worker makes the next."""
    run_id = site.submit(WAIT_FOR_A_KEY, context={"seconds": 40})
    process = site.start()
    site.until_under_way(run_id)

    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=60)[1] == ""
    assert site.stores.ledger.summary(run_id).state == "queued"
    assert [attempt.outcome for attempt in site.stores.ledger.attempts(run_id)] == [Outcome.CANCELLED]
    assert containers_of(run_id) == []


def test_a_run_under_way_is_cancelled_from_elsewhere(site: Site) -> None:
    """Once the command returns it has ended, its container is gone, and nothing was merged."""
    run_id = site.submit(WAIT_FOR_A_KEY, context={"seconds": 40})
    with site.working():
        site.until_under_way(run_id)
        asked = subprocess.run(
            [ISOLATION, "cancel", run_id], env=site.environment, capture_output=True, text=True, check=True, timeout=30
        )

    assert asked.stdout == f"{run_id} is cancelled\n"
    assert site.stores.ledger.get(run_id).outcome is Outcome.CANCELLED
    assert containers_of(run_id) == []
    assert count(site) is None


def test_what_a_host_cannot_hold_is_refused_for_good(site: Site) -> None:
    """Whoever submitted it learns why; the worker goes on."""
    run_id = site.submit(COUNT, policy=policy(limits={"memory": "900TiB"}))
    other = site.submit(COUNT)

    site.work()

    result = site.wait(run_id)
    assert result.outcome is Outcome.REFUSED
    assert "900 TiB" in result.errors[0].message
    assert site.wait(other).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_commit_whose_answer_is_lost_is_found_to_be_kept(site: Site, url: str, tmp_path: Path) -> None:
    """Nobody can say whether it was: so the database is asked again, and first whether it has it."""
    folder = tmp_path / "way"
    folder.mkdir()
    way = LosesACommit(url, folder)
    run_id = site.submit(COUNT)

    settings = load_settings(state=site.state, database=way.url)
    told: list[Told] = []
    with wiring.open_controller(settings) as controller:
        wiring.open_worker(controller, slots=1, tell=told.append).run(until_empty=True)
    way.close()

    assert way.lost == 1
    assert [(one.what, one.detail) for one in told] == [("taken", ""), ("ended", "succeeded")]
    assert site.stores.ledger.get(run_id).outcome is Outcome.SUCCEEDED
    assert [entry.value for entry in site.stores.contexts.history("count")] == [1]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.mark.postgresql
def test_a_database_that_is_killed_under_a_run_is_waited_for(server: Server, tmp_path: Path) -> None:
    """The run goes on meanwhile; what it changed is merged once the server is back, and once."""
    crashing = Site(tmp_path, server.url())
    run_id = crashing.submit(WAIT_FOR_A_KEY, context={"seconds": 2})
    with crashing.working() as told:
        crashing.until_under_way(run_id)
        server.kill()
        until(lambda: "trouble" in [one.what for one in told])
        until(server.is_gone)
        server.start()
        until(lambda: "ended" in [one.what for one in told])
    result = crashing.wait(run_id)
    counted = [entry.value for entry in crashing.stores.contexts.history("count")]
    crashing.stores.close()

    assert (result.outcome, len(result.attempts)) == (Outcome.SUCCEEDED, 1)
    assert counted == [1]


CANCELS = 200
_NEARER = 1.15
"""By what each delay differs from the one before: so a machine that is ten times slower is met as soon."""


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_acknowledged_cancel_is_never_followed_by_a_merge(site: Site) -> None:
    """Around the moment of the merge: each cancel that came in time lets the next come later, and the other way."""
    delays_s = [0.2]
    ends: list[tuple[str, bool]] = []

    def race(_: int) -> None:
        run_id = site.submit(WRITE, policy=policy(merge={"on_conflict": "ours"}))
        site.until(run_id, lambda run: run.state != "queued")
        threading.Event().wait(delays_s[-1])
        try:
            isolation.cancel(run_id, state=site.state, database=site.url)
        except TooLateError:
            ends.append((run_id, False))
            delays_s.append(delays_s[-1] / _NEARER)
        else:
            ends.append((run_id, True))
            delays_s.append(delays_s[-1] * _NEARER)

    with site.working(slots=4), ThreadPoolExecutor(4) as pool:
        list(pool.map(race, range(CANCELS)))
        outcomes = {run_id: site.wait(run_id).outcome for run_id, _ in ends}

    merged = {entry.run_id for entry in site.stores.contexts.history("count", limit=2 * CANCELS)} & {*outcomes}
    for run_id, acknowledged in ends:
        assert outcomes[run_id] is (Outcome.CANCELLED if acknowledged else Outcome.SUCCEEDED)
        assert (run_id in merged) == (not acknowledged)
    assert min(CANCELS - len(merged), len(merged)) > CANCELS // 5, "they did not meet"

"""Workers on the real engine: each run that was submitted ends once, whatever becomes of whoever runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import isolation
from isolation import wiring
from isolation.errors import TooLateError
from isolation.model.outcome import Outcome
from isolation.settings import load_settings
from isolation.storage import presence
from isolation.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.model.policy import Policy
    from isolation.model.run import RunSummary
    from isolation.worker import Told

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine"), pytest.mark.xdist_group("workers")]

ISOLATION = Path(sys.executable).with_name("isolation")
COUNT = """
def run(context, params):
    context.set("count", context.get("count", 0) + 1)
"""
WAIT_FOR_A_KEY = """
import time

def run(context, params):
    print("under way", flush=True)
    context.set("count", context.get("count", 0) + 1)
    time.sleep(context.get("seconds"))
"""
FAIL = """
def run(context, params):
    raise TimeoutError("not today")
"""


class Site:
    """A recipe, a state folder and a database; workers in this process and in others."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.url = url
        self.stores = Stores(self.state, url)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")}
        self.environment |= {"ISOLATION_STATE": str(self.state), "XDG_CONFIG_HOME": str(folder)}
        if url:
            self.environment["ISOLATION_DATABASE"] = url

    def submit(self, source: str, **how: object) -> str:
        """Submit a recipe of one step."""
        recipe = self.folder / "recipe"
        recipe.mkdir(exist_ok=True)
        (recipe / "work.py").write_text(source)
        (recipe / "recipe.yaml").write_text(
            "metadata: {name: work}\nexecution: {retry_attempts: 9}\n"
            "steps: [{name: work, module: work, function: run}]\n"
        )
        how = {"state": self.state, "database": self.url, **how}
        return isolation.submit(recipe, **how)  # type: ignore[arg-type]  # a test's own words

    def wait(self, run_id: str) -> isolation.Result:
        """Wait for its end."""
        return isolation.wait(run_id, timeout_s=60, state=self.state, database=self.url)

    def until(self, run_id: str, holds: Callable[[RunSummary], bool]) -> None:
        """Wait until something holds of a run."""
        until(lambda: holds(self.stores.ledger.summary(run_id)))

    def until_under_way(self, run_id: str) -> None:
        """Wait for a run's first line."""
        for line in self.stores.logs.read(run_id, None, follow=lambda: True):
            assert line.text == "under way"
            return

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a worker's process."""
        return subprocess.Popen(
            [ISOLATION, "worker", "--json", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def work(self, *, slots: int = 2) -> list[Told]:
        """Run the queue in this process until it is empty; returns what the worker told."""
        told: list[Told] = []
        settings = load_settings(state=self.state, database=self.url)
        with wiring.open_controller(settings) as controller:
            wiring.open_worker(controller, slots=slots, tell=told.append).run(until_empty=True)
        return told

    @contextmanager
    def working(self, *, slots: int = 2) -> Iterator[list[Told]]:
        """Run the queue in this process beside the block."""
        told: list[Told] = []
        settings = load_settings(state=self.state, database=self.url)
        with wiring.open_controller(settings) as controller, ThreadPoolExecutor(1) as beside:
            worker = wiring.open_worker(controller, slots=slots, tell=told.append)
            running = beside.submit(worker.run)
            try:
                yield told
            finally:
                worker.stop()
                running.result()


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, and not for ever."""
    pause, end_s = threading.Event(), time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end_s
        pause.wait(0.02)


@pytest.fixture
def site(tmp_path: Path, url: str | None) -> Iterator[Site]:
    made = Site(tmp_path, url)
    yield made
    made.stores.close()


def policy(**sections: object) -> Policy:
    return isolation.Policy.model_validate({"name": "test", **sections})


def count(site: Site) -> object:
    entry = site.stores.contexts.get("count")
    return None if entry is None else entry.value


def containers_of(run_id: str) -> list[str]:
    """Name the containers that bear a run's name."""
    listing = ["docker", "ps", "--all", "--filter", f"name={run_id}", "--format", "{{.Names}}"]
    return subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()


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


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_runs_of_a_killed_worker_are_run_by_another(site: Site, attempts: int) -> None:
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


@pytest.mark.slow
def test_an_acknowledged_cancel_is_never_followed_by_a_merge(site: Site) -> None:
    """Two hundred times, at moments from before the beginning to after the end."""
    times, late, in_time = CANCELS, 0, 0
    ends: list[tuple[str, bool]] = []
    with site.working(slots=4), ThreadPoolExecutor(4) as pool:

        def race(number: int) -> tuple[str, bool]:
            run_id = site.submit(COUNT, context={}, policy=policy(merge={"on_conflict": "ours"}))
            threading.Event().wait(number % 40 * 0.02)
            try:
                isolation.cancel(run_id, state=site.state, database=site.url)
            except TooLateError:
                return run_id, False
            return run_id, True

        ends = [*pool.map(race, range(times))]
        results = {run_id: site.wait(run_id) for run_id, _ in ends}

    merged = {entry.run_id for entry in site.stores.contexts.history("count", limit=2 * times)}
    for run_id, acknowledged in ends:
        assert (results[run_id].outcome is Outcome.CANCELLED) == acknowledged
        assert (run_id in merged) == (not acknowledged)
        late, in_time = late + (not acknowledged), in_time + acknowledged
    assert late > times // 20, "no cancel came late: the moments say nothing"
    assert in_time > times // 20, "no cancel came in time: the moments say nothing"


CANCELS = 200

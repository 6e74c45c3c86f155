"""A place where workers work: a state folder, a database, recipes to submit; workers here and in other processes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import isolation
from isolation import wiring
from isolation.settings import load_settings
from isolation.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.model.policy import Policy
    from isolation.model.run import RunSummary
    from isolation.worker import Told

ISOLATION = Path(sys.executable).with_name("isolation")
COUNT = """
def run(context, params):
    context.set("count", context.get("count", 0) + 1)
"""
WRITE = """
import uuid

def run(context, params):
    context.set("count", str(uuid.uuid4()))  # what nobody else writes: two who write the same agree
"""
WAIT_FOR_A_KEY = """
import time

def run(context, params):
    print("under way", flush=True)
    context.set("count", context.get("count", 0) + 1)
    time.sleep(context.get("seconds"))
"""


class Site:
    """A recipe, a state folder and a database; workers in this process and in others."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.url = url
        self._writing = threading.Lock()
        self.stores = Stores(self.state, url)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")}
        self.environment |= {"ISOLATION_STATE": str(self.state), "XDG_CONFIG_HOME": str(folder)}
        self.environment |= {"ISOLATION_POOL": os.environ["ISOLATION_POOL"]}
        if url:
            self.environment["ISOLATION_DATABASE"] = url

    def submit(self, source: str, **how: object) -> str:
        """Submit a recipe of one step."""
        recipe = self.folder / hashlib.sha256(source.encode()).hexdigest()[:8]
        with self._writing:  # several threads of a test may submit the same
            if not recipe.exists():
                recipe.mkdir()
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


def policy(**sections: object) -> Policy:
    return isolation.Policy.model_validate({"name": "test", **sections})


def count(site: Site) -> object:
    entry = site.stores.contexts.get("count")
    return None if entry is None else entry.value


def containers_of(run_id: str) -> list[str]:
    """Name the containers that bear a run's name."""
    listing = ["docker", "ps", "--all", "--filter", f"name={run_id}", "--format", "{{.Names}}"]
    return subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()

"""Rows 152, 157 and 164: what is kept, when its disk is full, or many come at once."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from isolation.errors import StorageError
from isolation.model.changes import Changes
from isolation.model.outcome import Outcome
from isolation.model.policy import MergeRule
from isolation.settings import Settings
from isolation.stores import Stores
from isolation.wiring import open_controller
from tests.hostile.footprint import Footprint
from tests.hostile.kit import on_runc
from tests.hostile.traces import Witness, check_gone
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.model.event import Event
    from tests.conftest import ResultOf
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

MOMENTS = [
    *("RunStarted", "freeze", "claim", "attest", "deliver"),
    *("StepStarted", "LogLine", "StepEnded", "collect", "remove", "merge"),
]
LEAVES = """
import os

def run(context, params):
    print("x" * 5000, flush=True)
    context.set("written", os.urandom(8).hex())
    os.mkdir("/scratch/artifacts")
    with open("/scratch/artifacts/file", "wb") as file:
        file.write(os.urandom(200_000))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)  # noqa: S607 - where it lies differs
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - as above


class FillsAt(Witness):
    """Fills a disk at the first event of a name."""

    def __init__(self, arena: Arena, moment: str, fill: Callable[[], object]) -> None:
        super().__init__(arena.client)
        self._moment = moment
        self._fill: Callable[[], object] | None = fill

    def on_event(self, event: Event) -> None:
        """Take one event."""
        super().on_event(event)
        if getattr(event, "phase", type(event).__name__) == self._moment and self._fill is not None:
            fill, self._fill = self._fill, None
            fill()


def fill(folder: Path) -> None:
    """Leave no byte free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (65536, 100):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@on_runc
@pytest.mark.root
@pytest.mark.parametrize("moment", MOMENTS)
def test_row_152_a_disk_that_fills_up_at_any_moment_tears_no_record(arena: Arena, disk: Path, moment: str) -> None:
    """An error of ours, nothing merged and nothing left; with space there again, the next run is as any other."""
    folder = arena.recipe(LEAVES)
    witness = FillsAt(arena, moment, lambda: fill(disk))
    with open_controller(Settings(state=disk / "state")) as controller:
        with pytest.raises(StorageError, match="is full"):
            controller.run(folder, policy=arena.policy(), watcher=witness)
        (disk / "filler").unlink()
        check_gone(witness, arena.client)
        until(lambda: "running" not in [run.state for run in controller.stores.ledger.list(10)])
        states = [summary.state for summary in controller.stores.ledger.list(10)]
        merged = len(controller.stores.contexts.history("written"))
        after = controller.run(folder, policy=arena.policy())

    assert states in [[], ["abandoned"]]
    assert merged == 0
    assert after.outcome is Outcome.SUCCEEDED


AT_ONCE = 64


def test_row_157_merges_at_once_lose_no_update(tmp_path: Path, result_of: ResultOf) -> None:
    """Sixty-four writers of one key and of one key each: every conflict is seen, and in the end all are counted."""
    stores = Stores(tmp_path / "state")
    stores.contexts.set("count", {"is": 0, "by": ""}, "w", "t")

    def add_one(number: int) -> int:
        tries = 0
        while True:
            tries += 1
            run_id = f"run-{number}-{tries}"
            stores.ledger.start(run_id, "r", "default", result_of(run_id).digests, "t")
            snapshot = stores.contexts.freeze(None, ["*"])
            count = snapshot.values["count"]
            assert isinstance(count, dict)  # with who wrote it: two that write the same are not in conflict
            changes = Changes(set={"count": {"is": int(str(count["is"])) + 1, "by": run_id}, f"own.{number}": tries})
            with stores.ledger.settling(run_id) as settling:
                merge = stores.contexts.merge(
                    settling.connection, snapshot, changes, MergeRule(), who="w", run_id=run_id, at="t"
                )
                outcome = Outcome.CONFLICT if merge.status == "conflict" else Outcome.SUCCEEDED
                settling.finish(result_of(run_id, merge, changes, outcome), "t")
            if outcome is Outcome.SUCCEEDED:
                return tries

    with stores, ThreadPoolExecutor(AT_ONCE) as pool:
        tries = [*pool.map(add_one, range(AT_ONCE))]
        own = {entry.key: entry.value for entry in stores.contexts.list("own.*")}
        history = [entry.value for entry in stores.contexts.history("count", 1000)]
        counts = [value["is"] for value in history if isinstance(value, dict)]

    assert counts == [*range(AT_ONCE, -1, -1)]
    assert own == {f"own.{number}": count for number, count in enumerate(tries)}


@pytest.mark.slow
def test_row_164_many_short_runs_leave_not_one_descriptor_behind(arena: Arena) -> None:
    """A day's worth of them would otherwise end the controller."""
    for _ in range(8):
        arena.probe()
    before = Footprint.of(os.getpid())
    for _ in range(12 if arena.runtime == "runsc" else 40):
        arena.probe()
    after = Footprint.of(os.getpid())

    assert after.descriptors <= before.descriptors + 5
    assert after.tasks == before.tasks
    assert after.memory_bytes < before.memory_bytes + 32 * 2**20

"""
What a batch costs on the host: ``.venv/bin/python benchmarks/batch.py [--inputs N] [--real N]``.

The first rows are on a fake engine, whose containers are threads of this process: what is left is ours, but for what
the fake itself takes. Beside them stands the floor: a transaction that survives a power cut, of which a run needs two.
The last rows are on the real engine: a loop of runs, and a batch of the same, with rising numbers of workers.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import isolation
from isolation.clock import SystemClock
from isolation.sandbox.cells import Cells
from isolation.sandbox.leases import Leases
from isolation.stores import Stores
from isolation.testing import IMAGE, FakeEngine, Inside, answering

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPE = (
    "metadata: {name: bench}\ncontext: {reads: [i], writes: ['n.*']}\n"
    "steps: [{name: work, module: work, function: run}]\n"
)
SCRIPTLET = "def run(context, params):\n    context.set('n.%d' % context.get('i'), 1)\n"
WORKERS = (1, 2, 4)


def main() -> None:
    """Measure all rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=300)
    parser.add_argument("--real", type=int, default=30)
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # on a disk, for what fsync costs
        place = Path(folder)
        recipe = place / "recipe"
        recipe.mkdir()
        (recipe / "recipe.yaml").write_text(RECIPE)
        (recipe / "work.py").write_text(SCRIPTLET)
        floor_ms = _durable_ms(place / "floor.db", given.inputs)
        print(f"{'a durable transaction, the floor of each write':60} {floor_ms:8.2f} ms")
        with _on_fake(place) as controller:
            _rows("fake engine", controller, recipe, given.inputs)
        with isolation.open_controller(state=place / "real") as controller:
            _rows("real engine", controller, recipe, given.real)


def _rows(title: str, controller: isolation.Controller, recipe: Path, count: int) -> None:
    prepared = controller.prepare(recipe)
    prepared.run({"i": 0})
    times = []
    for number in range(1, count + 1):
        began_s = time.perf_counter()
        prepared.run({"i": number})
        times.append(time.perf_counter() - began_s)
    print(f"{f'{title}, one prepared run after another, median':60} {statistics.median(times) * 1000:8.2f} ms")
    for workers in WORKERS:
        began_s = time.perf_counter()
        done = [*controller.batch(recipe, _inputs(count), workers=workers)]
        rate = len(done) / (time.perf_counter() - began_s)
        failed = sum(not one.result.succeeded for one in done)
        print(
            f"{f'{title}, batch of {count}, {workers} at once':60} {rate:8.1f} runs/s"
            + f", {failed} failed" * bool(failed)
        )


def _inputs(count: int) -> Iterator[dict[str, int]]:
    return ({"i": number} for number in range(1, count + 1))


def _on_fake(place: Path) -> isolation.Controller:
    numbers = itertools.count()

    def script(inside: Inside) -> int:
        return answering({f"n.{next(numbers)}": 1})(inside)

    fake = FakeEngine(script)
    cells = Cells(fake, Leases(place / "uids"), local=False)
    return isolation.Controller(
        stores=Stores(place / "fake"), engine=fake, cells=cells, clock=SystemClock(), image=IMAGE
    )


def _durable_ms(path: Path, count: int) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE one (number INTEGER)")
    times = []
    for number in range(count):
        began_s = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO one VALUES (?)", (number,))
        connection.execute("COMMIT")
        times.append(time.perf_counter() - began_s)
    connection.close()
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()

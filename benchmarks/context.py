"""
What a run costs on a large context beside one on a single key: ``.venv/bin/python benchmarks/context.py [--pairs N]``.

Each row runs the same recipe, which reads one key, on a context of so many keys of 1 kB each and on one of a single
key, in turn, in one process, in cells that stood ready; the difference is taken pair by pair, and medians count. Where
keys are changed before each run, they are in both. Below each row is what the parts of both take (``phases_ms``). The
first run on a large context makes its base; beside it is the floor of all who read all of a context: how long it takes
to read it from a plain JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import isolation
from isolation.model.changes import Changes
from isolation.packaging.policy import load_policy
from isolation.sandbox.pool.shape import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.controller import Controller

SCRIPTLET = 'def read(context, params):\n    assert len(context.get("key.000000")) == 1000\n'
RECIPE = "metadata: {name: bench}\nsteps:\n  - {name: read, module: bench, function: read}\n"
SIZES = (1, 1_000, 100_000)
VALUE = "x" * 1_000
PHASES = ("freeze", "claim", "attest", "deliver", "run", "collect", "merge", "remove")


class Site:
    """A state folder with a context of some keys, and cells ready for its runs."""

    def __init__(self, controller: Controller, recipe: Path, keys: int, cells: int) -> None:
        self.keys = keys
        self.bills: list[dict[str, float]] = []
        self._controller = controller
        self._recipe = recipe
        self._cells = cells
        self._changes = 0
        self._policy = load_policy("default")
        controller.stores.contexts.change(Changes(set=dict.fromkeys(map(key, range(keys)), VALUE)), "bench", "t")

    def change(self, count: int) -> None:
        """Change some keys, but for the one that is read; where there is no other, one is added."""
        self._changes += 1
        changed = [key(1 + (self._changes * count + number) % max(1, self.keys - 1)) for number in range(count)]
        value = f"{self._changes:06}{VALUE[6:]}"
        self._controller.stores.contexts.change(Changes(set=dict.fromkeys(changed, value)), "bench", "t")

    def settle(self) -> None:
        """Wait until cells stand ready again, so that nothing is made or removed beside a run."""
        pool, shape = self._controller.cells.pool, shape_of(self._policy, self._controller.engine.image_id(image()))
        if pool is not None and shape is not None:
            pool.expect(shape, self._cells)
            pool.wait(shape, self._cells, 30.0)
            pool.wait_for_removals(30.0)

    def run(self) -> float:
        """Run the recipe once; returns milliseconds until its result is merged."""
        started_s = time.perf_counter()
        result = self._controller.run(self._recipe)
        spent_ms = (time.perf_counter() - started_s) * 1000
        if not result.succeeded:
            raise SystemExit(f"the run ended as {result.outcome.value}: {result.errors}")
        self.bills.append(result.attempts[-1].phases_ms)
        return spent_ms


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--cells", type=int, default=1, help="cells ready for each context; 0: each run starts its own")
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {options.pairs} pairs")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sites = [open_site(Path(folder), keys, options.cells, stack) for keys in SIZES]
        for site in sites:
            first_ms = site.run()
            print(f"{site.keys:7} keys: the first run {first_ms:6.0f} ms; {floor_text(site, Path(folder))}")
        print(f"{'':40} {'ms':>7} {'with 1 key':>11} {'more':>7}")
        for site in sites[1:]:
            row(f"{site.keys} keys, nothing changed", site, sites[0], options.pairs, lambda _: None)
            row(
                f"{site.keys} keys, ten changed before each run",
                site,
                sites[0],
                options.pairs,
                lambda one: one.change(10),
            )


def open_site(folder: Path, keys: int, cells: int, stack: ExitStack) -> Site:
    """Make a recipe, and a state folder with its context."""
    recipe = folder / f"recipe{keys}"
    recipe.mkdir()
    (recipe / "recipe.yaml").write_text(RECIPE)
    (recipe / "bench.py").write_text(SCRIPTLET)
    controller = stack.enter_context(
        isolation.open_controller(state=folder / f"state{keys}", image=image(), idle=cells)
    )
    return Site(controller, recipe, keys, cells)


def row(title: str, site: Site, small: Site, pairs: int, before: Callable[[Site], None]) -> None:
    """Measure one row, after a warm-up of both."""
    times = []
    for turn in range(pairs + 1):
        before(site)
        before(small)
        spent_ms = []
        for one in (site, small) if turn % 2 else (small, site):
            site.settle()
            small.settle()
            spent_ms.append(one.run())
        times.append(spent_ms if turn % 2 else spent_ms[::-1])
    mine, others = zip(*times[1:], strict=True)
    more_ms = statistics.median(one - another for one, another in times[1:])
    print(f"{title:40} {statistics.median(mine):7.1f} {statistics.median(others):11.1f} {more_ms:+7.1f}")
    for one in (site, small):
        bills = one.bills[-pairs:]
        parts = ((name, statistics.median(bill.get(name, 0.0) for bill in bills)) for name in PHASES)
        print(f"{one.keys:8} keys: " + ", ".join(f"{name} {spent:.1f}" for name, spent in parts))


def floor_text(site: Site, folder: Path) -> str:
    """Say how long it takes to read all of such a context from a JSON file."""
    file = folder / "plain.json"
    file.write_text(json.dumps(dict.fromkeys(map(key, range(site.keys)), VALUE)))
    started_s = time.perf_counter()
    json.loads(file.read_bytes())
    return f"a plain JSON file of it is read in {(time.perf_counter() - started_s) * 1000:.1f} ms"


def key(number: int) -> str:
    """Name a key."""
    return f"key.{number:06}"


def image() -> str:
    """Name the runner image, as everywhere."""
    return os.environ.get("ISOLATION_IMAGE", "isolation-runner:latest")


if __name__ == "__main__":
    main()

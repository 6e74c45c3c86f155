"""
What a cold run costs, beside its floor, in pairs: ``.venv/bin/python benchmarks/cold.py [--pairs N]``.

Each row runs ours and ``docker run --rm`` of the same Python program in turn, and takes the ratio pair by pair, so
that a machine whose speed drifts, or is shared, changes little. Medians count; a single figure means nothing.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import isolation

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = 'print("hello")\n'
SCRIPTLET = 'def hello(context, params):\n    print("hello")\n    context.set("bench.done", True)\n'
RECIPE = "metadata: {name: bench}\nsteps:\n  - {name: hello, module: bench, function: hello}\n"
PROGRAM_IN_IMAGE = ("--entrypoint", "/usr/bin/python3", "isolation-runner:latest", "-c", PROGRAM)
FLOORS = {
    "docker run --rm": ["docker", "run", "--rm", *PROGRAM_IN_IMAGE],
    "without a network": ["docker", "run", "--rm", "--network", "none", *PROGRAM_IN_IMAGE],
}
"""What people type; and the same with no network to set up, as our cells have none, which is harder to beat."""


def main() -> None:
    """Measure both rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {pairs} pairs")
    print(f"{'':42} {'ours ms':>8}" + "".join(f" {name:>18} {'ratio':>6}" for name in FLOORS))
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe"
        recipe.mkdir()
        (recipe / "recipe.yaml").write_text(RECIPE)
        (recipe / "bench.py").write_text(SCRIPTLET)
        state = Path(folder) / "state"
        with isolation.open_controller(state=state) as controller:
            row("in a running process, result in hand", lambda: _check(controller.run(recipe)), pairs)
        program = Path(sys.executable).with_name("isolation")
        command = [str(program), "--state", str(state), "run", "--json", str(recipe)]
        row("the whole command `isolation run --json`", lambda: _call(command), pairs)


def row(title: str, ours: Callable[[], None], pairs: int) -> None:
    """Measure one row: a warm-up of each, then ours and each floor in turn."""
    actions = [ours, *(functools.partial(_call, command) for command in FLOORS.values())]
    times = [[_time(action) for action in actions] for _ in range(pairs + 1)][1:]
    mine, *floors = zip(*times, strict=True)
    text = f"{title:42} {statistics.median(mine) * 1000:8.0f}"
    for floor in floors:
        ratio = statistics.median(first / second for first, second in zip(mine, floor, strict=True))
        text += f" {statistics.median(floor) * 1000:15.0f} ms {ratio:6.2f}"
    print(text)


def _time(action: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def _check(result: isolation.Result) -> None:
    if not result.succeeded:
        raise SystemExit(f"the run ended as {result.outcome.value}: {result.errors}")


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

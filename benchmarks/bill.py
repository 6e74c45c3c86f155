"""
What the phases of a run take, beside their floors: ``.venv/bin/python benchmarks/bill.py [--runs N] [--budget MS]``.

Recipes of 1, 10 and 100 steps, one after another in one process; the medians of each phase. After each run come the
floors: a plain Python process that imports the same modules and calls the same functions one by one, and ``docker run``
of the same. The plain process tells itself how long importing and calling took, so that the start of an interpreter,
which a run has in other phases, is in no figure of the steps. It does so twice, and forks a process for each call the
first time: below that cannot be who gives each step a process of its own.

It exits with 1 where our time for a step of the 100 is more than the budget. What counts as ours is all of the phase
``run`` but what the plain process needed: that each step is a process of its own (a fork, its end, three pipes), that
it compiles its module, which no run leaves behind for another, its view of the context, its answer, its report, the
host's part of it. The part of ``run`` that does not grow with the steps is in it, too: it is divided by a hundred.

What no phase can tell is the commit that keeps the bill: it is in ``outside the bill``, the whole call less the bill.
"""

from __future__ import annotations

import argparse
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
from isolation.rules.bill import share

if TYPE_CHECKING:
    from isolation.controller import Controller

SIZES = (1, 10, 100)
BUDGETED = 100
BUDGET_MS = 2.0
MODULES = 10
"""The steps use so many modules, as recipes do: several steps call into one."""
SCRIPTLET = "def run(context, params):\n    context.set(params['key'], params['number'])\n"
PLAIN = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
class Context:
    def __init__(self):
        self.values = {}
    def set(self, key, value):
        self.values[key] = value
context = Context()
def call(number):
    module = __import__(f"m{number % int(sys.argv[3])}")
    module.run(context, {"key": f"bench.{number}", "number": number})
began = time.perf_counter()
for number in range(int(sys.argv[2])):
    pid = os.fork()
    if pid == 0:
        call(number)
        os._exit(0)
    os.waitpid(pid, 0)
forked = time.perf_counter()
for number in range(int(sys.argv[2])):
    call(number)
print((time.perf_counter() - forked) * 1000, (forked - began) * 1000)
"""
IMAGE = ("--network", "none", "--entrypoint", "/usr/bin/python3")


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="of each size, after one that is not kept")
    parser.add_argument("--budget", type=float, default=BUDGET_MS, metavar="MS", help="our time for a step")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {given.runs} runs a size")
    columns: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            recipe = write(Path(folder) / str(size), size)
            with isolation.open_controller(state=Path(folder) / "state") as controller:
                columns[size] = measure(controller, recipe, size, given.runs)
    show(columns)
    ours_ms = (columns[BUDGETED]["run"] - columns[BUDGETED][FLOOR]) / BUDGETED
    within = ours_ms <= given.budget
    verdict = "within" if within else "BEYOND"
    print(f"our time for one step of {BUDGETED}: {ours_ms:.2f} ms, {verdict} the budget of {given.budget:g} ms")
    return 0 if within else 1


FLOOR = "plain: import and call"
OURS = ("whole call", "outside the bill", "ours by the bill", "steps by the bill")
FLOORS = (FLOOR, "plain: the same, forked", "plain: whole process", "docker run")


def measure(controller: Controller, recipe: Path, size: int, runs: int) -> dict[str, float]:
    """Return medians in ms: of each phase, and of the floors that took turns with the runs."""
    rows = [one(controller, recipe, size) for _ in range(runs + 1)][1:]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: statistics.median(row.get(name, 0.0) for row in rows) for name in names}


def one(controller: Controller, recipe: Path, size: int) -> dict[str, float]:
    """Run once, and each floor once."""
    began_s = time.perf_counter()
    result = controller.run(recipe)
    whole_ms = (time.perf_counter() - began_s) * 1000
    if not result.succeeded:
        raise SystemExit(f"the run ended as {result.outcome.value}: {result.errors}")
    attempt = result.attempts[-1]
    shared = share(attempt)
    assert shared is not None, "a bill without moments"  # noqa: S101 - each has them
    at = attempt.phases_at_ms
    row = {name: attempt.phases_ms[name] for name in sorted(attempt.phases_ms, key=lambda name: at.get(name, whole_ms))}
    row |= dict(zip(OURS, (whole_ms, whole_ms - shared.whole_ms, shared.ours_ms, shared.steps_ms), strict=True))
    arguments = ["-B", "-c", PLAIN, str(recipe), str(size), str(MODULES)]
    inside = [*arguments[:3], "/package", *arguments[4:]]
    docker = ["docker", "run", "--rm", "-v", f"{recipe}:/package:ro", *IMAGE, "isolation-runner:latest", *inside]
    plain_ms, said = timed([sys.executable, "-I", *arguments])
    docker_ms, _ = timed(docker)
    return row | dict(zip(FLOORS, (*map(float, said.split()), plain_ms, docker_ms), strict=True))


def show(columns: dict[int, dict[str, float]]) -> None:
    """Print the table: a line for each phase, a column for each size."""
    print(f"{'median ms, recipe of':26}" + "".join(f"{size:>6} step{'s' if size > 1 else ' '}" for size in columns))
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        if name in {OURS[0], FLOORS[0]}:
            print()
        print(f"{name:26}" + "".join(f"{column.get(name, 0.0):12.2f}" for column in columns.values()))
    print()


def timed(command: list[str]) -> tuple[float, str]:
    """Call a program; returns ms and what it said."""
    began_s = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return (time.perf_counter() - began_s) * 1000, done.stdout


def write(folder: Path, size: int) -> Path:
    """Write a recipe of so many steps."""
    folder.mkdir()
    steps = [
        f"  - {{name: s{number}, module: m{number % MODULES}, function: run, "
        f"args: {{key: bench.{number}, number: {number}}}}}\n"
        for number in range(size)
    ]
    (folder / "recipe.yaml").write_text(f"metadata: {{name: bench{size}}}\nsteps:\n{''.join(steps)}")
    for number in range(min(size, MODULES)):
        (folder / f"m{number}.py").write_text(SCRIPTLET)
    return folder


if __name__ == "__main__":
    sys.exit(main())

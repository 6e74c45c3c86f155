"""
What the phases of a run take, beside their floors: ``.venv/bin/python benchmarks/bill.py [--runs N] [--budget MS]``.

Recipes of 1, 10 and 100 steps, one after another in one process; the medians of each phase. After each run come the
floors: a plain Python process that imports the same modules and calls the same functions one by one, and ``docker run``
of the same. The plain process tells itself how long importing and calling took, so that the start of an interpreter,
which a run has in other phases, is in no figure of the steps. It does so twice, and forks a process for each call the
first time: below that cannot be who gives each step a process of its own.

It exits with 1, and names the phase, where one took more than its budget (benchmarks/budget.py), each so many times a
floor; and where our time for a step of the 100 is more than --budget. What counts as ours is all of the phase
``run`` but what the plain process needed: that each step is a process of its own (a fork, its end, three pipes), that
it compiles its module, which no run leaves behind for another, its view of the context, its answer, its report, the
host's part of it. The part of ``run`` that does not grow with the steps is in it, too: it is divided by a hundred.

What no phase can tell is the commit that keeps the bill: it is in ``outside the bill``, the whole call less the bill.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import budget
import docker
from speed import ALONE, IMAGE, await_idle

import isolation
from isolation.rules.bill import share
from isolation.sandbox.engine import engine_address
from isolation.state.folders import sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.controller import Controller

KINDS = {budget.COLD: (1, 0), "10 steps": (10, 0), budget.MANY: (100, 0), budget.WARM: (1, 1)}
"""Steps, and cells that stand ready."""
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
PYTHON = ("--network", "none", "--entrypoint", "/usr/bin/python3")


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="of each size, after one that is not kept")
    parser.add_argument("--budget", type=float, default=BUDGET_MS, metavar="MS", help="our time for a step")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {given.runs} runs a size")
    columns: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (size, idle) in KINDS.items():
            recipe = write(Path(folder) / kind, size)
            with isolation.open_controller(state=Path(folder) / "state", idle=idle) as controller:
                ready = functools.partial(await_idle, controller) if idle else lambda: None
                columns[kind] = measure(controller, recipe, size, given.runs, ready)
    show(columns)
    budget.show(columns)
    beyond = [*budget.overruns(columns)]
    ours_ms = (columns[budget.MANY]["run"] - columns[budget.MANY][FLOOR]) / BUDGETED
    print(f"our time for one step of {BUDGETED}: {ours_ms:.2f} ms, of a budget of {given.budget:g} ms")
    if ours_ms > given.budget:
        beyond.append(f"one step of {BUDGETED} took {ours_ms:.2f} ms of ours, BEYOND its budget of {given.budget:g} ms")
    print("\n".join(["", *beyond] if beyond else ["every phase is within its budget"]))
    return 1 if beyond else 0


FLOOR = "plain: import and call"
OURS = ("whole call", "outside the bill", "ours by the bill", "steps by the bill")
FLOORS = (FLOOR, "fork, all", "python", "docker run")


def measure(controller: Controller, recipe: Path, size: int, runs: int, ready: Callable[[], None]) -> dict[str, float]:
    """Return medians in ms: of each phase, and of the floors that took turns with the runs."""
    rows = []
    with docker.APIClient(base_url=engine_address(), version="auto") as client:
        for _ in range(runs + 1):
            ready()
            rows.append(one(controller, recipe) | floors(recipe, size) | bare_calls(client) | commit(recipe.parent))
    names = dict.fromkeys(name for row in rows[1:] for name in row)
    return {name: statistics.median(row.get(name, 0.0) for row in rows[1:]) for name in names}


def one(controller: Controller, recipe: Path) -> dict[str, float]:
    """Run once."""
    began_s = time.perf_counter()
    result = controller.run(recipe, policy=ALONE)
    whole_ms = (time.perf_counter() - began_s) * 1000
    if not result.succeeded:
        raise SystemExit(f"the run ended as {result.outcome.value}: {result.errors}")
    attempt = result.attempts[-1]
    shared = share(attempt)
    assert shared is not None, "a bill without moments"  # noqa: S101 - each has them
    at = attempt.phases_at_ms
    row = {name: attempt.phases_ms[name] for name in sorted(attempt.phases_ms, key=lambda name: at.get(name, whole_ms))}
    return row | dict(zip(OURS, (whole_ms, whole_ms - shared.whole_ms, shared.ours_ms, shared.steps_ms), strict=True))


def floors(recipe: Path, size: int) -> dict[str, float]:
    """Do the same in a plain Python, and in a container."""
    arguments = ["-B", "-c", PLAIN, str(recipe), str(size), str(MODULES)]
    inside = [*arguments[:3], "/package", *arguments[4:]]
    plain_ms, said = timed([sys.executable, "-I", *arguments])
    docker_ms, _ = timed(["docker", "run", "--rm", "-v", f"{recipe}:/package:ro", *PYTHON, IMAGE, *inside])
    found = dict(zip(FLOORS, (*map(float, said.split()), plain_ms, docker_ms), strict=True))
    return found | {"fork": found["fork, all"] / size}


def bare_calls(client: docker.APIClient) -> dict[str, float]:
    """Time each call of the least that gives a fresh container."""
    body = {"Image": IMAGE, "Entrypoint": ["/usr/bin/python3"], "Cmd": ["-c", "print('hello')"]}
    body |= {"NetworkDisabled": True, "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "none"}}}
    moments_s = [time.perf_counter()]
    made = client.create_container_from_config(body)["Id"]
    for call in (client.start, client.wait, functools.partial(client.remove_container, force=True)):
        moments_s.append(time.perf_counter())
        call(made)
    moments_s.append(time.perf_counter())
    names = ("bare create", "bare start", "bare wait", "bare remove")
    took = {name: (end_s - at_s) * 1000 for name, at_s, end_s in zip(names, moments_s, moments_s[1:], strict=False)}
    return took | {"bare end": took["bare wait"] + took["bare remove"]}


def commit(folder: Path) -> dict[str, float]:
    """Write a row to SQLite, on the disk that the state folder is on, as durably as the product does."""
    with contextlib.closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE IF NOT EXISTS rows (value TEXT)")
        began_s = time.perf_counter()
        database.execute("INSERT INTO rows VALUES ('hello')")
        commit_ms = (time.perf_counter() - began_s) * 1000
    return {"commit": commit_ms, "keep": commit_ms + blob(folder / "blobs")}


def blob(folder: Path) -> float:
    """Keep a few bytes that are new in a file, and its name, through a power cut; returns ms."""
    folder.mkdir(exist_ok=True)
    began_s = time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(b"hello")
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).rename(f"{file.name}.kept")
    sync(folder)
    return (time.perf_counter() - began_s) * 1000


def show(columns: dict[str, dict[str, float]]) -> None:
    """Print the table: a line for each phase, a column for each kind of run."""
    print(f"{'median ms, recipe of':26}" + "".join(f"{kind:>14}" for kind in columns))
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        if name in {OURS[0], FLOORS[0], "bare create"}:
            print()
        print(f"{name:26}" + "".join(f"{column.get(name, 0.0):14.2f}" for column in columns.values()))
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

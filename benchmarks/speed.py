"""
What a run costs, each figure beside its floor in the same minutes: ``.venv/bin/python benchmarks/speed.py``.

::

    start    one run at a time: made for its run, standing ready, sharing a cell; against `docker run`, in turn, and a
             plain `python`, which tells what the pauses between them cost whatever is started
    fresh    as many runs as two processors carry, a fresh cell each; against the bare calls of the engine
    shared   the same with `reuse: package`; against starting a plain `python` as often
    at once  how long a run takes when 1 to 16 are started at the same moment
    idle     the memory of a cell that stands ready, and of the controller that keeps it
    soak     thousands of runs in a row, and what is left of them: threads, descriptors, memory, mounts, groups, disk

Ratios are taken pair by pair, so that a machine whose speed drifts changes little. ``--only start,idle`` runs some;
``--scale 0.1`` runs a tenth of everything. benchmarks/bill.py has recipes of 1, 10 and 100 steps, benchmarks/context.py
contexts of 1 to 100k keys, benchmarks/cold.py the command line. ``--json FILE`` keeps the figures for plot.py.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import psutil

import isolation
from isolation.model.policy import Policy
from isolation.sandbox.engine import engine_address
from isolation.sandbox.pool.shape import shape_of
from isolation.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isolation.controller import Controller
    from isolation.prepared import Prepared

    Figures = dict[str, Any]

PROGRAM = 'print("hello")'
SCRIPTLET = "def hello(context, params):\n    context.set('bench.done', True)\n    print('hello')\n"
RECIPE = "metadata: {name: bench}\nsteps:\n  - {name: hello, module: bench, function: hello}\n"
IMAGE = load_settings().image
ALONE, SHARED = Policy(name="alone"), Policy(name="shared", reuse="package")
STANDS_WITHIN_S = 30.0


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by comma")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, for benchmarks/plot.py")
    given = parser.parse_args()
    found: Figures = {"machine": f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"}
    print(found["machine"])
    for name in given.only.split(","):
        print(f"\n{name}")
        with tempfile.TemporaryDirectory() as folder:
            found[name] = SECTIONS[name](Path(folder), given.scale)
        show(found[name])
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def show(figures: Figures) -> None:
    """Print figures, a line each."""
    for name, value in figures.items():
        shown = "  ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        print(f"  {name:34} {shown}")


def start(folder: Path, scale: float) -> Figures:
    """Time single runs of each kind, and `docker run`, in turn."""
    times: dict[str, list[float]] = {"docker run": [], "cold": [], "warm": [], "shared": [], "plain python": []}
    with opened(folder, idle=2) as warm, opened(folder, idle=0) as cold:
        await_idle(warm)
        kinds: dict[str, Callable[[], object]] = {
            "docker run": docker_run,
            "cold": functools.partial(run, cold, folder, ALONE),
            "warm": functools.partial(run, warm, folder, ALONE),
            "shared": functools.partial(run, cold, folder, SHARED),
            "plain python": plain_python,
        }
        for _ in range(count(100, scale) + 1):
            for kind, action in kinds.items():
                if kind == "warm":
                    await_idle(warm)
                times[kind].append(timed_ms(action))
    return against(first(times), "docker run")


def fresh(folder: Path, scale: float) -> Figures:
    """Have as many fresh cells as the machine carries, ours and bare ones, with the best number of threads of each."""
    runs = count(120, scale)
    client = functools.partial(docker.APIClient, base_url=engine_address(), version="auto")
    bare = max(rate(functools.partial(bare_calls, client()), threads, runs) for threads in (2, 3, 4))
    best: Figures = {}
    for idle in (0, 4):
        with opened(folder, idle=idle) as controller:
            prepared = controller.prepare(recipe(folder), policy=ALONE)
            found = max(rate(functools.partial(checked, prepared), threads, runs) for threads in (2, 3, 4))
        best["with a pool" if idle else "without a pool"] = {"runs/s": round(found, 2), "ratio": round(found / bare, 3)}
    return {"bare create+start+wait+remove": {"per s": round(bare, 2)}, **best}


def shared(folder: Path, scale: float) -> Figures:
    """Have runs of one package share cells, with one to four at once."""
    runs = count(600, scale)
    plain = max(rate(plain_python, threads, count(200, scale)) for threads in (2, 3))
    found: Figures = {"plain python process": {"per s": round(plain, 1)}}
    for threads in (1, 2, 3, 4):
        with opened(folder) as controller:
            prepared = controller.prepare(recipe(folder), policy=SHARED)
            spent_s = time.process_time()
            per_s = rate(functools.partial(checked, prepared), threads, runs)
            ours_ms = (time.process_time() - spent_s) / (runs + 2 * threads) * 1000
        found[f"{threads} at once"] = {"runs/s": round(per_s, 1), "controller cpu ms a run": round(ours_ms, 2)}
    return found


def at_once(folder: Path, scale: float) -> Figures:
    """Start several warm runs at the same moment, and time each."""
    found: Figures = {}
    with opened(folder, idle=16) as controller:
        prepared = controller.prepare(recipe(folder), policy=ALONE)
        for many in (1, 2, 4, 8, 16):
            times: list[float] = []
            for _ in range(count(6, scale)):
                await_idle(controller, many)
                gate = threading.Barrier(many)
                with ThreadPoolExecutor(many) as threads:
                    times += threads.map(
                        lambda _, gate=gate: (gate.wait(), timed_ms(lambda: checked(prepared)))[1], range(many)
                    )
            found[f"{many} at once"] = spread(times)
    return found


def idle(folder: Path, _scale: float) -> Figures:
    """Weigh a cell that stands ready, by its processes and by what the kernel charges its group."""
    with opened(folder, idle=1) as controller:
        await_idle(controller)
        own = psutil.Process()
        cells = [one for one in psutil.process_iter(["cmdline"]) if "/opt/runner/run.py" in (one.info["cmdline"] or ())]
        ours = [one for one in cells if one.uids().real >= isolation_uids()]
        full = [one.memory_full_info() for one in ours]
        return {
            "first process, resident": {"MB": mb(max(one.rss for one in full))},
            "all its processes, proportional": {"MB": mb(sum(one.pss for one in full)), "processes": len(full)},
            "charged to its group": {"MB": mb(charged_bytes())},
            "the controller, resident": {"MB": mb(own.memory_info().rss)},
        }


def soak(folder: Path, scale: float) -> Figures:
    """Run thousands in a row, most in shared cells, some in fresh ones, and look at what grows."""
    runs, every = count(5000, scale), 10
    with opened(folder, idle=2) as controller:
        lone, many = (controller.prepare(recipe(folder), policy=policy) for policy in (ALONE, SHARED))
        marks: Figures = {}
        for number in range(runs):
            checked(many if number % every else lone)
            if (number + 1) % (runs // 5) == 0:
                await_idle(controller)
                marks[f"after {number + 1}"] = footprint(folder, number + 1)
    return marks


SECTIONS: dict[str, Callable[[Path, float], Figures]] = {
    "start": start,
    "fresh": fresh,
    "shared": shared,
    "at once": at_once,
    "idle": idle,
    "soak": soak,
}


def opened(folder: Path, idle: int = 0) -> Controller:
    """Open a controller on a state folder of its own."""
    return isolation.open_controller(state=folder / f"state-{time.monotonic_ns()}", idle=idle)


def recipe(folder: Path) -> Path:
    """Write the recipe."""
    written = folder / "recipe"
    written.mkdir(exist_ok=True)
    (written / "recipe.yaml").write_text(RECIPE)
    (written / "bench.py").write_text(SCRIPTLET)
    return written


def await_idle(controller: Controller, many: int = 1) -> None:
    """Wait until so many cells stand ready: what is measured is a claim, and not the wait for a cell."""
    image_id, pool = controller.engine.image_id(IMAGE), controller.cells.pool
    shape = shape_of(ALONE, image_id)
    if pool is None or shape is None:
        raise SystemExit("a pool takes root on the engine's own host")
    pool.expect(shape, 1 if many == 1 else many * 8)
    if not pool.wait(shape, many, STANDS_WITHIN_S):
        raise SystemExit(f"no {many} idle cells: {pool!r}")
    pool.wait_for_removals(STANDS_WITHIN_S)


def run(controller: Controller, folder: Path, policy: Policy) -> None:
    """Run the recipe's folder, as a service would."""
    ended = controller.run(recipe(folder), policy=policy)
    if not ended.succeeded or ended.merge.status != "merged":
        raise SystemExit(f"the run ended as {ended.outcome.value}: {ended.errors}")


def checked(prepared: Prepared) -> None:
    """Run what was prepared."""
    ended = prepared.run()
    if not ended.succeeded or ended.merge.status != "merged" or ended.usage.cpu_s is None:
        raise SystemExit(f"the run ended as {ended.outcome.value}: {ended.errors}")


def docker_run() -> None:
    """Do what people type."""
    image = ("--entrypoint", "/usr/bin/python3", IMAGE, "-c", PROGRAM)
    command = ["docker", "run", "--rm", *image]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def bare_calls(client: docker.APIClient) -> None:
    """Do the least that gives a fresh container, with no thought of safety."""
    body = {"Image": IMAGE, "Entrypoint": ["/usr/bin/python3"], "Cmd": ["-c", PROGRAM]}
    body |= {"NetworkDisabled": True, "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "none"}}}
    made = client.create_container_from_config(body)["Id"]
    client.start(made)
    client.wait(made)
    client.remove_container(made, force=True)


def plain_python() -> None:
    """Start a Python that does the same, with no isolation at all."""
    subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM], check=True, stdout=subprocess.DEVNULL)


def rate(action: Callable[[], object], threads: int, runs: int) -> float:
    """Return how often a second an action can be done with so many threads, after a start that is not counted."""
    with ThreadPoolExecutor(threads) as workers:
        for done in [workers.submit(action) for _ in range(2 * threads)]:
            done.result()
        began_s = time.perf_counter()
        for done in [workers.submit(action) for _ in range(runs)]:
            done.result()
        return runs / (time.perf_counter() - began_s)


def footprint(folder: Path, runs: int) -> Figures:
    """Count what a long life could pile up; the disk is given per run, since every run is kept."""
    own = psutil.Process()
    groups = sum(1 for at, _, _ in os.walk("/sys/fs/cgroup") if "isolation-" in at)
    disk = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    return {
        "threads": own.num_threads(),
        "descriptors": own.num_fds(),
        "MB": mb(own.memory_info().rss),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "groups": groups,
        "containers": len(docker.APIClient(base_url=engine_address(), version="auto").containers(all=True)),
        "disk kB a run": round(disk / runs / 1000, 1),
    }


def isolation_uids() -> int:
    """Return the first uid of cells."""
    from isolation.sandbox.leases import FIRST_UID  # noqa: PLC0415 - one section asks

    return FIRST_UID


def charged_bytes() -> int:
    """Return what the kernel charges the one idle cell."""
    names = ("memory.usage_in_bytes", "memory.current")
    homes = [Path("/sys/fs/cgroup/memory/isolation"), Path("/sys/fs/cgroup/isolation")]
    found = [path for home in homes if home.is_dir() for path in home.glob("isolation-pool-*/*") if path.name in names]
    return sum(int(path.read_text()) for path in found)


def timed_ms(action: Callable[[], object]) -> float:
    """Time an action, in milliseconds."""
    began_s = time.perf_counter()
    action()
    return (time.perf_counter() - began_s) * 1000


def first(times: dict[str, list[float]]) -> dict[str, list[float]]:
    """Leave out the first of each: it warms up."""
    return {name: values[1:] for name, values in times.items()}


def against(times: dict[str, list[float]], floor: str) -> Figures:
    """Set each kind beside the floor, pair by pair."""
    found: Figures = {}
    for kind, values in times.items():
        ratios = [one / two for one, two in zip(values, times[floor], strict=True)]
        p99 = percentile(values, 0.99) / statistics.median(times[floor])
        found[kind] = spread(values) | {"ratio": round(statistics.median(ratios), 4), "p99 ratio": round(p99, 4)}
    return found


def spread(values: Sequence[float]) -> Figures:
    """Return median and p99."""
    return {"median ms": round(statistics.median(values), 2), "p99 ms": round(percentile(values, 0.99), 2)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def count(number: int, scale: float) -> int:
    """Scale a count; never below 10."""
    return max(10, round(number * scale))


def mb(size_bytes: float) -> float:
    """Return megabytes."""
    return round(size_bytes / 1e6, 2)


if __name__ == "__main__":
    main()

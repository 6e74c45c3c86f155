"""
What the walls cost, and what they are worth: ``.venv/bin/python benchmarks/walls.py [--pairs N] [--hostile N]``.

attestation   the same run with and without the host's part of it, in pairs; and the runner's part, timed inside
storm         a benign recipe's latency, quiet and then beside N hostile runs of one controller, all of which stand from
              the first probe to the last; its floor is ``docker run`` of the same program at the same moments
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import isolation
from isolation.model.attestation import Attestation
from isolation.model.policy import Limits, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.controller import Controller

BENIGN = "def run(context, params):\n    context.set('bench.done', True)\n    print('hello')\n"
TIMED = """
import importlib, sys, time
def run(context, params):
    sys.path.insert(0, "/opt/runner")
    view = importlib.import_module("view")
    took = []
    for _ in range(20):
        began = time.perf_counter()
        view.look()
        took.append(time.perf_counter() - began)
    return {"median_ms": sorted(took)[10] * 1000}
"""
HOSTILE = {
    "computes": "def run(context, params):\n    while True: pass\n",
    "computes in threads": (
        "import threading\ndef spin():\n    while True: pass\ndef run(context, params):\n"
        "    for _ in range(16): threading.Thread(target=spin).start()\n    spin()\n"
    ),
    "touches its memory": (
        "def run(context, params):\n    kept = bytearray(90 << 20)\n    while True:\n"
        "        for place in range(0, len(kept), 4096): kept[place] = 1\n"
    ),
    "forks": (  # and stays below its limit: who meets it is stopped
        "import os\ndef run(context, params):\n    for _ in range(20):\n        if os.fork() == 0: break\n"
        "    while True:\n        pid = os.fork()\n        if pid == 0: os._exit(0)\n        os.waitpid(pid, 0)\n"
    ),
    "fills its scratch": (
        "def run(context, params):\n    while True:\n        try:\n"
        "            with open('/scratch/x', 'ab') as f: f.write(bytes(2**20))\n        except OSError: pass\n"
    ),
}
LIMITS = Limits.model_validate({"memory": "128MiB", "pids": 48, "wall": "15m", "step_wall": "15m"})
PROGRAM = ("--network", "none", "--entrypoint", "/usr/bin/python3", "isolation-runner:latest", "-c", "print('hello')")


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--hostile", type=int, default=50)
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    with (
        tempfile.TemporaryDirectory() as folder,
        isolation.open_controller(state=Path(folder) / "state") as controller,
    ):
        measure_attestation(controller, Path(folder), given.pairs)
        measure_storm(controller, Path(folder), given.pairs, given.hostile)


def measure_attestation(controller: Controller, folder: Path, pairs: int) -> None:
    """Run with and without the host's part in turn; the runner's part is a step that times it."""
    recipe = write(folder / "benign", BENIGN)
    attest = controller.cells.attest

    def without(*_: Any) -> Attestation:  # noqa: ANN401 - whatever it is given
        return Attestation(runtime="runc", facts=())

    def run(how: Callable[..., Attestation]) -> float:
        controller.cells.attest = how  # type: ignore[method-assign]
        return timed(lambda: check(controller.run(recipe)))

    run(attest)
    times = [(run(attest), run(without)) for _ in range(pairs)]
    controller.cells.attest = attest  # type: ignore[method-assign]
    differences = [(first - second) * 1000 for first, second in times]
    inside = controller.run(write(folder / "timed", TIMED))
    outputs = inside.attempts[0].steps[0].outputs
    in_the_cell_ms = outputs["median_ms"] if isinstance(outputs, dict) else float("nan")
    print(
        f"attestation: {statistics.median(differences):.1f} ms on the host (median of {pairs} pairs; a run without it "
        f"{statistics.median(second for _, second in times) * 1000:.0f} ms), {in_the_cell_ms:.1f} ms in the cell"
    )


def measure_storm(controller: Controller, folder: Path, probes: int, hostile: int) -> None:
    """Probe quietly, then while the hostile runs stand, and count how those ended."""
    benign = write(folder / "benign", BENIGN)
    quiet = [*probe(controller, benign, probes)]
    recipes = [write(folder / name.replace(" ", "-"), source) for name, source in HOSTILE.items()]
    standing, enough = threading.Semaphore(0), threading.Event()
    ended: list[str] = []
    threads = [
        threading.Thread(target=attack, args=(controller, recipes[index % len(recipes)], standing, enough, ended))
        for index in range(hostile)
    ]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for _ in range(hostile):
        standing.acquire()
    stood_s = time.perf_counter() - began_s
    stormy = [*probe(controller, benign, probes)]
    still = hostile - len(ended)
    enough.set()
    began_s = time.perf_counter()
    for thread in threads:
        thread.join()
    ended_s = time.perf_counter() - began_s
    for title, column in (("a benign run", 0), ("docker run", 1)):
        before, during = (statistics.median(row[column] for row in rows) * 1000 for rows in (quiet, stormy))
        slowest_ms = max(row[column] for row in stormy) * 1000
        print(
            f"storm: {title} took {before:.0f} ms in quiet, {during:.0f} ms beside {hostile}: {during / before:.2f} "
            f"(medians; the slowest {slowest_ms:.0f} ms)"
        )
    print(f"storm: all {hostile} stood after {stood_s:.0f} s; {still} still did after the last of {probes} probes")
    print(f"storm: they were cancelled, and had ended after {ended_s:.0f} s:", dict(count(ended)))


def attack(
    controller: Controller, recipe: Path, standing: threading.Semaphore, enough: threading.Event, ended: list[str]
) -> None:
    """Run one hostile recipe to its end; let it be known when it stands, or will not."""

    class Tell:
        stands = False

        def on_event(self, event: object) -> None:
            if type(event).__name__ == "StepStarted" and not self.stands:
                self.stands = True
                standing.release()

    tell = Tell()
    try:
        result = controller.run(recipe, policy=Policy(name="storm", limits=LIMITS), watcher=tell, cancel=enough)
        ended.append(f"{recipe.name}: {result.outcome.value}")
    except isolation.IsolationError as error:
        ended.append(f"{recipe.name}: {error}")
    finally:
        if not tell.stands:
            standing.release()


def probe(controller: Controller, recipe: Path, times: int) -> Iterator[tuple[float, float]]:
    """Time a benign run and its floor in turn."""
    for _ in range(times):
        yield (
            timed(lambda: check(controller.run(recipe))),
            timed(lambda: subprocess.run(["docker", "run", "--rm", *PROGRAM], check=True, stdout=subprocess.DEVNULL)),  # noqa: S607 - where it lies differs
        )


def count(names: list[str]) -> Iterator[tuple[str, int]]:
    """Count equal names."""
    yield from ((name, names.count(name)) for name in sorted({*names}))


def timed(action: Callable[[], object]) -> float:
    """Time an action, in seconds."""
    began_s = time.perf_counter()
    action()
    return time.perf_counter() - began_s


def check(result: isolation.Result) -> None:
    """Stop where a benign run did not succeed."""
    if not result.succeeded:
        raise SystemExit(f"the run ended as {result.outcome.value}: {result.errors}")


def write(folder: Path, source: str) -> Path:
    """Write a recipe of one step."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(
        f"metadata: {{name: {folder.name}}}\nsteps: [{{name: s, module: w, function: run}}]\n"
    )
    (folder / "w.py").write_text(source)
    return folder


if __name__ == "__main__":
    main()

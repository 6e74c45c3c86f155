"""
What a whole command costs, beside its floor, in pairs: ``.venv/bin/python benchmarks/command.py [--pairs N]``.

``docker run --rm`` of the same program is the floor of a run, ``python -c pass`` that of the help. Ours and its
floor take turns, and the ratio is taken pair by pair; medians count. The pool is one of its own, in its own folder.
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

PROGRAM = 'print("hello")\n'
SCRIPTLET = 'def hello(context, params):\n    print("hello")\n    context.set("bench.done", True)\n'
RECIPE = "metadata: {name: bench}\nsteps:\n  - {name: hello, module: bench, function: hello}\n"
IMAGE = os.environ.get("ISOLATION_IMAGE", "isolation-runner:latest")
DOCKER = ["docker", "run", "--rm", "--entrypoint", "/usr/bin/python3", IMAGE, "-c", PROGRAM]
ISOLATION = str(Path(sys.executable).with_name("isolation"))


def main() -> None:
    """Measure the rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {pairs} pairs")
    print(f"{'':40} {'ours ms':>8} {'p90':>6}  {'its floor ms':>28} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recipe.yaml").write_text(RECIPE)
        (Path(folder) / "bench.py").write_text(SCRIPTLET)
        os.environ |= {"XDG_RUNTIME_DIR": folder, "ISOLATION_STATE": f"{folder}/state", "ISOLATION_POOL": "5m"}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        run = [ISOLATION, "run", "--json", folder]
        row("isolation run, the first: by itself", [*run, "--no-pool"], DOCKER, pairs)
        call([ISOLATION, "pool", "start"])
        row("isolation run, the second: in the pool", run, DOCKER, pairs)
        row("isolation runs, by itself", [ISOLATION, "runs", "--no-pool"], [sys.executable, "-c", "pass"], pairs)
        row("isolation runs, in the pool", [ISOLATION, "runs"], [sys.executable, "-c", "pass"], pairs)
        call([ISOLATION, "pool", "stop"])
        row("isolation --help", [ISOLATION, "--help"], [sys.executable, "-c", "pass"], pairs)


def row(title: str, ours: list[str], floor: list[str], pairs: int) -> None:
    """Measure one row: a warm-up of each, then both in turn."""
    times = [(call(ours), call(floor)) for _ in range(pairs + 1)][1:]
    mine, theirs = zip(*times, strict=True)
    ratio = statistics.median(first / second for first, second in times)
    name = " ".join(Path(word).name for word in floor[:2])
    shown = f"{name} {statistics.median(theirs) * 1000:.0f}"
    p90 = statistics.quantiles(mine, n=10)[-1]
    print(f"{title:40} {statistics.median(mine) * 1000:8.0f} {p90 * 1000:6.0f}  {shown:>28} {ratio:6.2f}")


def call(command: list[str]) -> float:
    """Run a command; returns the seconds that it took."""
    started_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()

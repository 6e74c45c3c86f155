"""A place of work with a pool of the command line's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

ISOLATION = str(Path(sys.executable).with_name("isolation"))
TIME_S = 60.0
NO_RUNS = "no runs yet; begin one: isolation run RECIPE\n"
RECIPE = "metadata: {name: small}\nsteps:\n  - {name: work, module: work, function: run}\n"
ENDS = "def run(context, params):\n    context.set('small.n', 1)\n"


class Front:
    """A person's place of work, with a runtime folder of its own: nobody else's pool is found there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "runtime" / "isolation" / "pool"
        own = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")}
        self.environment = own | {
            "XDG_RUNTIME_DIR": str(path / "runtime"),
            "XDG_CONFIG_HOME": str(path),
            "ISOLATION_STATE": str(path / "state"),
            "ISOLATION_POOL": "10m",
        }
        self.started: list[subprocess.Popen[str]] = []
        (path / "runtime").mkdir()

    def start(self, *arguments: str, before: tuple[str, ...] = (), **how: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - as subprocess takes it
        """Start a command."""
        process = subprocess.Popen(
            [*before, ISOLATION, *arguments],
            env=self.environment,
            cwd=self.path,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **how,
        )
        self.started.append(process)
        return process

    def wait(self, *options: str, before: tuple[str, ...] = (), **how: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - as above
        """Start a command that lasts: it waits for a run that nobody carries out; returns once it does."""
        self.write(ENDS)
        assert self.run("submit", ".", "--no-pool")[0] == 0
        process = self.start("wait", "last", *options, before=before, **how)
        assert process.stderr is not None
        assert process.stderr.readline().endswith(": queued\n")
        return process

    def command(self) -> tuple[psutil.Process, psutil.Process]:
        """Return the one command that the pool carries out, and who attends to it."""
        (found,) = [(command, child) for child in self.pool().children() for command in _children(child)]
        return found

    def lender(self) -> psutil.Process:
        """Return the pool's process that keeps cells: its first; the others attend to who calls, or asks."""
        pool = self.pool()
        await_that(pool.children)  # it can be called before it has forked
        return min(pool.children(), key=psutil.Process.create_time)

    def end_waiting(self, process: subprocess.Popen[str]) -> int:
        """Let the command that waits come to its end; returns its exit code."""
        assert self.run("cancel", "last", "--no-pool")[0] == 0
        process.communicate(timeout=TIME_S)
        return process.returncode

    def close(self) -> None:
        """End what a test that failed has left, and the pools."""
        self.run("pool", "stop")
        for process in self.started:
            if process.poll() is None:
                process.kill()
            with process:
                pass

    def run(self, *arguments: str, before: tuple[str, ...] = (), **how: Any) -> tuple[int, str, str]:  # noqa: ANN401 - as above
        """Run a command; returns exit code, stdout and stderr."""
        process = self.start(*arguments, before=before, **how)
        out, told = process.communicate(timeout=TIME_S)
        return process.returncode, out, told

    def pools(self) -> list[dict[str, Any]]:
        """Ask for this place's pools."""
        found: list[dict[str, Any]] = json.loads(self.run("pool", "status", "--json")[1])
        return found

    def pool(self) -> psutil.Process:
        """Return the one pool that serves here."""
        (pid,) = [pool["pid"] for pool in self.pools() if pool["serves_here"]]
        return psutil.Process(pid)

    def write(self, scriptlet: str) -> None:
        """Write a recipe of one step."""
        (self.path / "recipe.yaml").write_text(RECIPE)
        (self.path / "work.py").write_text(scriptlet)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:  # it attended to who asked whether the pool is there
        return []


def await_that(there: Callable[[], object]) -> None:
    """Wait for what the kernel does a moment after it was told to."""
    until_s = time.monotonic() + TIME_S
    while not there():
        assert time.monotonic() < until_s
        os.sched_yield()

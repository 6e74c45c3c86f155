"""A Docker Engine of the tests' own: whatever is registered with it, nobody else's runs are touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from isolation.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STARTS_WITHIN_S = 60.0
RELOADS_WITHIN_S = 20.0


class OwnEngine:
    """A running dockerd with its own configuration, folder and socket, and with the runner image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "daemon.json"
        self.address = f"unix://{folder}/sock"
        self.log = folder / "log"
        self.write({})
        command = [
            "dockerd",
            *("--config-file", str(self.config)),
            *("--data-root", str(folder / "data")),
            *("--exec-root", str(folder / "exec")),
            *("--pidfile", str(folder / "pid")),
            *("--host", self.address),
            *("--bridge", "none"),
            "--iptables=false",
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def write(self, runtimes: dict[str, Any]) -> None:
        """Write its configuration, which it reads when it is told to."""
        self.config.write_text(json.dumps({"log-level": "warn", "runtimes": runtimes}), encoding="ascii")

    def register(self, runtimes: dict[str, Any]) -> None:
        """Have it know these runtimes and no others of ours."""
        self.write(runtimes)
        self._process.send_signal(signal.SIGHUP)
        self._until(lambda: {*self.runtimes()} == {*runtimes}, RELOADS_WITHIN_S)

    def runtimes(self) -> tuple[str, ...]:
        """Name the runtimes that it knows besides runc."""
        known = json.loads(self._ask("info", "--format", "{{json .Runtimes}}").stdout)
        return tuple(name for name in known if "." not in name and name != "runc")

    def wait_until_it_answers(self) -> None:
        """Wait for its first answer."""
        self._until(lambda: self._ask("version").returncode == 0, STARTS_WITHIN_S)

    def load(self, image: str) -> None:
        """Give it an image of the engine that all tests use."""
        saved = self.folder / "image.tar"
        subprocess.run(["docker", "save", "--output", saved, image], check=True)  # noqa: S607 - where it lies differs
        self._ask("load", "--quiet", "--input", str(saved)).check_returncode()
        saved.unlink()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._process.terminate()
        self._process.wait(timeout=STARTS_WITHIN_S)

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "--host", self.address, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _until(self, holds: Callable[[], bool], within_s: float) -> None:
        until_s = time.monotonic() + within_s
        while not holds():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > until_s:
                pytest.fail(f"the tests' own engine (exit code {ended}):\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)


@pytest.fixture(scope="module")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """Start one for a module's tests; only root can, and only where the engine is installed on this host."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("only root can start an engine of the tests' own, where dockerd is installed")
    engine = OwnEngine(tmp_path_factory.mktemp("engine"))
    try:
        engine.wait_until_it_answers()
        engine.load(Settings(state=engine.folder).image)
        yield engine
    finally:
        engine.stop()

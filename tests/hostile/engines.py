"""A Docker Engine of a test's own, which it may stop, freeze and kill: nobody else's runs are on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from isolation.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_UP_WITHIN_S = 60.0
_DOWN_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.05


class OwnEngine:
    """An engine in a folder below /run (the names of its sockets must be short), with our runner image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder / 'docker.sock'}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **configuration: Any) -> None:  # noqa: ANN401 - as its own file has it
        """Start it, with these lines in its configuration, and return when it answers."""
        file = self.folder / "daemon.json"
        file.write_text(json.dumps(configuration))
        places = {"config-file": file, "data-root": self.folder / "data", "exec-root": self.folder / "exec"}
        places |= {"pidfile": self.folder / "pid"}
        command = ["dockerd", "--host", self.address, *(f"--{name}={path}" for name, path in places.items())]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--bridge=none", "--iptables=false"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        until_s = time.monotonic() + _UP_WITHIN_S
        while not self._answers():
            assert time.monotonic() < until_s, (self.folder / "log").read_text()[-2000:]
            time.sleep(_LOOK_EVERY_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and return when it is gone; its containers are its own affair."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(_DOWN_WITHIN_S)
            self.process = None

    def client(self) -> docker.APIClient:
        """Connect to it."""
        return docker.APIClient(base_url=self.address, version="auto")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.connect(self.address.removeprefix("unix://"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        return False


@contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """Give one that is up and has the image; skips where nobody may start one."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("an engine of a test's own takes root and dockerd")
    engine = OwnEngine(Path(tempfile.mkdtemp(prefix="hostile-", dir="/run")))
    try:
        engine.start()
        _copy_image(engine)
        yield engine
    finally:
        _remove_containers(engine)
        engine.stop()
        _take_away(engine.folder)


def _copy_image(engine: OwnEngine) -> None:
    name = Settings(state=engine.folder).image
    theirs, own = docker.APIClient(version="auto", base_url=os.environ.get("DOCKER_HOST")), engine.client()
    own.load_image(b"".join(theirs.get_image(name)))  # type: ignore[no-untyped-call]  # the published stubs lack it
    theirs.close()
    own.close()


def _remove_containers(engine: OwnEngine) -> None:
    """Remove those that outlived their test: with live-restore they would outlive the engine as well."""
    client = engine.client()
    for container in client.containers(all=True):
        client.remove_container(container["Id"], force=True)
    client.close()


def _take_away(folder: Path) -> None:
    """Remove its folder, when what it still had mounted there is unmounted."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for target in sorted((path for path in mounted if path.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", target], check=False)  # noqa: S607 - where it lies differs
    shutil.rmtree(folder)

"""
G5: what the controller and the engine hold: descriptors, threads and memory.

An engine is written in Go, which keeps the threads of its busiest moment and never gives one back: what is counted of
it are its goroutines. Each thread that waits for the kernel has one.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.sandbox.engine import engine_address

if TYPE_CHECKING:
    import docker

_PEER = struct.Struct("3i")
_WITHIN_S = 60.0
"""Other attacks on this engine, fifty at once among them, end in less."""
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Slack:
    """
    What may be held beyond the baseline.

    Others use the engine beside us; after many threads at once, each of our two clients of the engine keeps up to 25
    connections for its next question, and the database up to 20 descriptors. That no run leaves even one behind is row
    164's to show.
    """

    descriptors: int
    tasks: int
    memory_bytes: int


OURS = Slack(descriptors=120, tasks=2, memory_bytes=256 * 2**20)
ENGINES = Slack(descriptors=160, tasks=160, memory_bytes=256 * 2**20)


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one process holds at one moment; ``tasks`` are an engine's goroutines, and the threads of any other."""

    descriptors: int
    tasks: int
    memory_bytes: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        """Read it from the kernel."""
        folder = Path("/proc") / str(pid)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return cls(
            descriptors=len([*(folder / "fd").iterdir()]),
            tasks=int(status["Threads"]),
            memory_bytes=int(status["VmRSS"].split()[0]) * 1024,
        )

    def is_within(self, baseline: Footprint, slack: Slack) -> bool:
        """Tell whether this is no more than the baseline and the slack."""
        return (
            self.descriptors <= baseline.descriptors + slack.descriptors
            and self.tasks <= baseline.tasks + slack.tasks
            and self.memory_bytes <= baseline.memory_bytes + slack.memory_bytes
        )


class Watched:
    """A process whose footprint was taken when it was quiet, and has to come back to that."""

    def __init__(self, pid: int, slack: Slack) -> None:
        self.pid = pid
        self._slack = slack
        self._baseline = self._footprint()

    def check(self) -> None:
        """Assert that it is the same process, and is back, or comes back soon."""
        until_s = time.monotonic() + _WITHIN_S
        while not (found := self._footprint()).is_within(self._baseline, self._slack):
            assert time.monotonic() < until_s, (
                f"G5: process {self.pid} holds {found}, it began with {self._baseline}; "
                f"threads here: {sorted(thread.name for thread in threading.enumerate())}"
            )
            threading.Event().wait(_LOOK_EVERY_S)

    def _footprint(self) -> Footprint:
        return Footprint.of(self.pid)


class WatchedEngine(Watched):
    """The engine: its descriptors and memory by the kernel, its goroutines by its own word."""

    def __init__(self, client: docker.APIClient) -> None:
        self._client = client
        super().__init__(engine_pid(), ENGINES)

    def _footprint(self) -> Footprint:
        return replace(super()._footprint(), tasks=int(self._client.info()["NGoroutines"]))


def engine_pid() -> int:
    """Find the process of the engine: whoever made the socket that it listens on, unix(7)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(engine_address().removeprefix("unix://"))
        pid: int = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
    if (Path("/proc") / str(pid) / "comm").read_text().strip() == "dockerd":
        return pid
    (pid,) = (  # the socket is systemd's, which hands it over
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdecimal() and (folder / "comm").read_text().strip() == "dockerd"
    )
    return pid

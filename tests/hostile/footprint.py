"""G5: what the controller and the engine hold: descriptors, threads and memory."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from isolation.sandbox.engine import engine_address

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
    threads: int
    memory_bytes: int


OURS = Slack(descriptors=120, threads=2, memory_bytes=256 * 2**20)
ENGINES = Slack(descriptors=256, threads=256, memory_bytes=256 * 2**20)
"""A Go program keeps the threads of its busiest moment; one that has just been started has few."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one process holds at one moment."""

    descriptors: int
    threads: int
    memory_bytes: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        """Read it from the kernel."""
        folder = Path("/proc") / str(pid)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return cls(
            descriptors=len([*(folder / "fd").iterdir()]),
            threads=int(status["Threads"]),
            memory_bytes=int(status["VmRSS"].split()[0]) * 1024,
        )

    def is_within(self, baseline: Footprint, slack: Slack) -> bool:
        """Tell whether this is no more than the baseline and the slack."""
        return (
            self.descriptors <= baseline.descriptors + slack.descriptors
            and self.threads <= baseline.threads + slack.threads
            and self.memory_bytes <= baseline.memory_bytes + slack.memory_bytes
        )


class Watched:
    """A process whose footprint was taken when it was quiet, and has to come back to that."""

    def __init__(self, pid: int, slack: Slack) -> None:
        self.pid = pid
        self._slack = slack
        self._baseline = Footprint.of(pid)

    def check(self) -> None:
        """Assert that it is the same process, and is back, or comes back soon."""
        until_s = time.monotonic() + _WITHIN_S
        while not (found := Footprint.of(self.pid)).is_within(self._baseline, self._slack):
            assert time.monotonic() < until_s, f"G5: process {self.pid} holds {found}, it began with {self._baseline}"
            threading.Event().wait(_LOOK_EVERY_S)


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

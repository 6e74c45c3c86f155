"""What we need of a container engine: the one seam between us and whatever starts containers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
LABEL = "isolation.run"
"""Carried by every container of ours; its value is the run's id."""
OWNER_LABEL = "isolation.owner"
"""Names the process that runs it, so that nobody takes away what a living controller uses."""


def engine_address(address: str | None = None) -> str:
    """Return the engine's address: the one given, the environment's (``DOCKER_HOST``), or the usual socket."""
    return address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFacts:
    """What the engine says of itself. ``cgroup_driver`` is ``cgroupfs``, ``systemd`` or ``none``."""

    name: str
    version: str
    cgroup_version: int
    cgroup_driver: str
    runtimes: tuple[str, ...]
    security: tuple[str, ...]
    cpus: int
    memory_bytes: int
    kernel: str
    warnings: tuple[str, ...] = ()
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What each runtime's name starts, with its arguments; without those that the engine brings itself."""
    architecture: str = ""
    live_restore: bool = False
    """Whether containers go on when the engine ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How the engine says a container ended; ``oom_killed`` may be false after a kill for memory (counters know)."""

    exit_code: int
    oom_killed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """A container of ours that is still there."""

    container_id: str
    run_id: str
    owner: str
    running: bool


class Engine(Protocol):
    """
    What we need of a container engine. Every method raises EngineError.

    Where the connection breaks before an answer, ``inspect``, ``kill``, ``wait`` and ``remove`` may ask once more,
    since doing those twice is as doing them once; and ``create`` may find what it made by the name that is only its.
    """

    def facts(self) -> EngineFacts:
        """Describe the engine; asked once."""

    def image_id(self, name: str) -> str:
        """Return the id of a local image. Raises ImageError where it is not there; never pulls."""

    def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container from a raw create body; returns its id."""

    def attach(self, container_id: str) -> socket.socket:
        """Attach to its three standard streams, before it is started, so that no byte is lost."""

    def start(self, container_id: str) -> None:
        """Start it; returns when its first process has been started."""

    def inspect(self, container_id: str) -> dict[str, Any]:
        """Return the engine's own record of a container, as its API gives it (``/containers/{id}/json``)."""

    def update(self, container_id: str, limits: dict[str, Any]) -> None:
        """Give a started container other limits, named as in a create body's ``HostConfig``."""

    def kill(self, container_id: str) -> None:
        """Send SIGKILL to its init; a container that is not running any more is no error."""

    def wait(self, container_id: str, timeout_s: float) -> Ended | None:
        """Wait until it has stopped; None if it has not within the time, or nobody knows it any more."""

    def remove(self, container_id: str) -> None:
        """Remove it by force, and return when it is gone; one that is gone already is no error."""

    def remove_ended(self, container_id: str) -> None:
        """
        Do as ``remove`` with one that has ended by the kernel's word, which an engine hears somewhat later.

        It is given the time: one that it takes for running it would kill first, by a process made for that.
        """

    def settle(self, name: str) -> None:
        """
        Return when no container of that name is being made any more.

        An engine goes on with what it has begun, also where whoever asked has died; until then nothing lists it.
        """

    def leftovers(self) -> tuple[Leftover, ...]:
        """List all containers that carry our label."""

    def stats(self, container_id: str) -> dict[str, Any]:
        """Return the engine's own reading of a running container's counters."""

"""What one cell may take of the host with its requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """
    Of one proxy. Who meets a bound waits, or is turned away with a sentence; nothing here ends a run.

    ``connections`` are served at a time, each by a thread; so many more as ``waiting`` stand in the kernel's queue.
    ``head_s`` is for a whole request's head, however slowly it drips in; ``idle_s`` is how long nothing may move. A
    connection to an endpoint of TCP may be as still as a pool's are; there, it is within what silence a far end that
    is gone is found out.
    """

    connections: int = 32
    waiting: int = 128
    head_bytes: int = 32 * 2**10
    head_s: float = 10.0
    connect_s: float = 10.0
    addresses: int = 4
    idle_s: float = 60.0

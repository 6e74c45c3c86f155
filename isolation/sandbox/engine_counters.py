"""The engine's own word for a run's counters, where the kernel's files cannot be read: asked while it lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from isolation.errors import EngineError
from isolation.sandbox.groups.group import Reading

if TYPE_CHECKING:
    from isolation.model.policy import Limits
    from isolation.sandbox.engine import Engine

_ASK_EVERY_S = 0.5


class EngineGroup:
    """
    Asks for ``/containers/{id}/stats`` again and again, aside: an engine may take a second for its answer.

    ``read`` returns the last answer at once. After the container's end, that is all there is.
    """

    source = "engine, sampled"
    parent: str | None = None
    holds = False

    def __init__(self, engine: Engine, ask_every_s: float = _ASK_EVERY_S) -> None:
        self._engine = engine
        self._ask_every_s = ask_every_s
        self._last = Reading()
        self._over = threading.Event()

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return the policy's limit: the engine's is the only one."""
        return limits.memory_bytes

    def limit(self, limits: Limits) -> None:
        """Refuse: the engine sets them."""
        raise EngineError(f"the engine, and no group of ours, limits a cell to {limits.memory_bytes} bytes")

    def hold(self) -> None:
        """Do nothing: there are no files."""

    def begin_again(self) -> None:
        """Refuse: no cell stays where its group is the engine's."""
        raise EngineError("no cell stays for other runs where its group is the engine's")

    def processes(self) -> list[int]:
        """Refuse: as above."""
        raise EngineError("no cell stays for other runs where its group is the engine's")

    def watch(self, container_id: str) -> None:
        """Begin to ask."""
        threading.Thread(target=self._ask, args=(container_id,), name="engine counters", daemon=True).start()

    def read(self) -> Reading:
        """Return the last answer."""
        return self._last

    def in_force(self) -> None:
        """Return nothing: the engine's record is its own word, and no reading of what holds."""

    def yield_to_others(self) -> None:
        """Do nothing: the group is the engine's."""

    def go_first(self) -> None:
        """Do nothing: as above."""

    def close(self) -> None:
        """Ask no more."""
        self._over.set()

    def remove(self) -> None:
        """Ask no more; the engine made the group and removes it."""
        self._over.set()

    def _ask(self, container_id: str) -> None:
        while not self._over.is_set():
            try:
                stats = self._engine.stats(container_id)
            except EngineError:  # the container or the engine is gone; whoever waits for it says which
                return
            if stats.get("pids_stats", {}).get("current"):
                self._last = _reading(stats)
            self._over.wait(self._ask_every_s)


def _reading(stats: dict[str, Any]) -> Reading:
    cpu, memory = stats.get("cpu_stats", {}), stats.get("memory_stats", {})
    usage, parts = cpu.get("cpu_usage", {}), memory.get("stats", {})
    blocks = stats.get("blkio_stats", {}).get("io_service_bytes_recursive")
    return Reading(
        cpu_s=_seconds(usage.get("total_usage")),
        cpu_user_s=_seconds(usage.get("usage_in_usermode")),
        cpu_system_s=_seconds(usage.get("usage_in_kernelmode")),
        throttled_s=_seconds(cpu.get("throttling_data", {}).get("throttled_time")),
        memory_bytes=memory.get("usage"),
        memory_peak_bytes=memory.get("max_usage"),
        memory_anon_bytes=parts.get("anon", parts.get("total_rss")),
        memory_file_bytes=parts.get("file", parts.get("total_cache")),
        memory_kernel_bytes=parts.get("kernel"),
        pids=stats.get("pids_stats", {}).get("current"),
        io_read_bytes=_total(blocks, "read"),
        io_write_bytes=_total(blocks, "write"),
    )


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds * 1e-9


def _total(blocks: list[dict[str, Any]] | None, direction: str) -> int | None:
    if not blocks:  # no reading and no device look the same
        return None
    return sum(int(block["value"]) for block in blocks if block["op"].lower() == direction)

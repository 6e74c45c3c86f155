"""What a run's group is to those who use it, wherever its counters come from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from isolation.model.policy import Limits

PERIOD_US = 100_000
"""The period in which a quota of processor time is counted, in microseconds."""
YIELDS_BY = 100
"""How much less a run weighs against others of ours once it has computed a while."""
ENDS_BY = 8
"""How much more it weighs at its end."""
_LEAST_QUOTA_US = 1000
_UNLIMITED = 2**60
"""What v1 says where there is no limit is near 2**63, by the page size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """All counters at one moment, since the group was made. None: the kernel does not tell."""

    cpu_s: float | None = None
    cpu_user_s: float | None = None
    cpu_system_s: float | None = None
    throttled_s: float | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_anon_bytes: int | None = None
    memory_file_bytes: int | None = None
    memory_kernel_bytes: int | None = None
    pids: int | None = None
    pids_peak: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    oom_kills: int | None = None
    forks_refused: int | None = None


class Group(Protocol):
    """Where a run's counters are read: its own group in the kernel, or the engine's word for it."""

    source: str
    parent: str | None
    """What the engine takes as ``CgroupParent``; None: the engine's own."""
    holds: bool
    """Whether limits can be written into this group; else they stand on the container's own, and are the engine's."""

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return the limit for the container's own group, given who holds the policy's."""

    def limit(self, limits: Limits) -> None:
        """
        Give a standing cell other limits, and begin its peak of memory anew where the kernel lets us.

        Only where the group ``holds`` them. Raises EngineError where the kernel refuses.
        """

    def hold(self) -> None:
        """Keep the files open that are read, up to ``remove`` or ``close``: a run will be waiting for it."""

    def begin_again(self) -> None:
        """Begin a further run: a peak begins anew where the kernel lets us, else it is not told any more."""

    def processes(self) -> list[int]:
        """Return the processes that live in the container now, by their numbers on the host."""

    def watch(self, container_id: str) -> None:
        """Learn which container lies in the group; called when it has started."""

    def read(self) -> Reading:
        """Read everything now; works until ``remove``, also after the container is gone."""

    def in_force(self) -> dict[str, str] | None:
        """
        Read back the limits that hold in the kernel now, by name, as ``limits_in_force`` writes them.

        None where they cannot be read from here.
        """

    def yield_to_others(self) -> None:
        """Weigh less than runs that have computed less: many long runs must not hold up a short one."""

    def go_first(self) -> None:
        """
        Weigh more than all others: the run ends, and its processes need a processor to die.

        gVisor's sandbox has ten seconds for it, and an engine whose runtime gave up leaves things behind.
        """

    def close(self) -> None:
        """Let go of what is held open, where another process removes the group; nothing can be read any more."""

    def remove(self) -> None:
        """Remove the group; its container is gone. Can be called again. Raises EngineError if something lives in it."""


def limits_in_force(
    *, memory: int | None, memory_and_swap: int | None, pids: int | None, quota_us: float | None, period_us: int | None
) -> dict[str, str]:
    """
    Write limits as they are compared: bytes, processes, and processors' worth of time. None: there is no limit.

    >>> found = limits_in_force(memory=1024, memory_and_swap=None, pids=8, quota_us=50_000, period_us=100_000)
    >>> found["limit of memory"], found["limit of memory and swap"], found["limit of processors"]
    ('1024', 'none', '0.5')
    """
    cpus = quota_us / period_us if quota_us is not None and quota_us > 0 and period_us else None
    return {
        "limit of memory": _said(memory),
        "limit of memory and swap": _said(memory_and_swap),
        "limit of processes": _said(pids),
        "limit of processors": "none" if cpus is None else f"{cpus:g}",
    }


def limits_wanted(limits: Limits) -> dict[str, str]:
    """Write what ``in_force`` must return for these limits; the kernel counts memory in whole pages."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    memory = limits.memory_bytes // page_bytes * page_bytes
    return limits_in_force(
        memory=memory, memory_and_swap=memory, pids=limits.pids, quota_us=quota_us(limits), period_us=PERIOD_US
    )


def _said(limit: int | None) -> str:
    return "none" if limit is None or limit >= _UNLIMITED else str(limit)


def quota_us(limits: Limits) -> int:
    """Return the processor time of a period, in microseconds; the kernel takes no less than a millisecond."""
    return max(_LEAST_QUOTA_US, round(limits.cpus * PERIOD_US))

"""A run's group on cgroup v1."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.sandbox.descriptor import Descriptor
from isolation.sandbox.groups.files import Folder, lines, number, remove, scaled, words, write
from isolation.sandbox.groups.group import ENDS_BY, PERIOD_US, YIELDS_BY, Reading, limits_in_force, quota_us

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.model.policy import Limits

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "blkio")
_LIMIT = "memory.limit_in_bytes"
_WITH_SWAP = "memory.memsw.limit_in_bytes"
_SLACK_BYTES = 4 * 2**20
_BATCH_BYTES = 64 * os.sysconf("SC_PAGE_SIZE")
"""The kernel charges in batches of 64 pages (MEMCG_CHARGE_BATCH): by so much a peak may stay below its limit."""
_SHARES = 1024
"""The kernel's own value for a new group."""


class GroupV1:
    """
    A group on cgroup v1. The limits that matter stand on it, because v1 counts where the limit is.

    The kernel counts a kill for memory in the victim's own group, which dies with the container; but it signals
    an eventfd on every group below the one that ran out (memory.rst, 10). So the policy's limit stands on the
    run's group, the container's own is a little wider, and a signal means: at least one kill.
    """

    def __init__(self, root: Path, cell: str, limits: Limits) -> None:
        self.source = "cgroup v1"
        self.holds = True
        self.parent: str | None = f"/isolation/{cell}"
        self._root = root
        self._cell = cell
        self._container: str | None = None
        self._refused: int | None = None
        self._kills = 0
        self._again = False
        self._folders = {name: root / name / "isolation" / cell for name in CONTROLLERS if (root / name).is_dir()}
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        self._files = {name: Folder(folder) for name, folder in self._folders.items()}
        self._own = self._files
        """Those of the container's own group, once it has one."""
        if number(self._folders["memory"] / "memory.use_hierarchy") == 0:  # else our limit would not bind those below
            self._write("memory", "memory.use_hierarchy", 1)
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting
            self._write("memory", "memory.swappiness", 0)
        self._write("cpu", "cpu.cfs_period_us", PERIOD_US)
        self._limit(limits)
        self._ooms: int | None = Descriptor(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        try:
            with (self._folders["memory"] / "memory.oom_control").open("rb") as control:
                self._write("memory", "cgroup.event_control", f"{self._ooms} {control.fileno()}")
        except OSError:
            self.close()
            raise

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return a little more than the policy's limit, so that this group is the one that runs out."""
        return limits.memory_bytes + _SLACK_BYTES

    def limit(self, limits: Limits) -> None:
        """Give a standing cell other limits, and begin its peak of memory anew."""
        try:
            self._limit(limits)
            self._write("memory", "memory.max_usage_in_bytes", 0)
        except OSError as error:
            hint = "It is busy with more than an idle cell should be."
            raise EngineError(f"the group {self.parent} takes no other limits: {error.strerror}", hint=hint) from error

    def begin_again(self) -> None:
        """Begin the peak of memory anew; that of processes cannot be, and is not told any more."""
        self._write("memory", "memory.max_usage_in_bytes", 0)
        self._again = True
        self.hold()

    def hold(self) -> None:
        """Keep the files open that are read."""
        for folder in (*self._files.values(), *self._own.values()):
            folder.hold()

    def processes(self) -> list[int]:
        """Return the processes that live in the container now."""
        own = self._folders["pids"] / (self._container or "")
        return [int(found[0]) for found in lines(own / "cgroup.procs")]

    def watch(self, container_id: str) -> None:
        """Learn which container lies in the group."""
        self._container = container_id
        self._own = {name: Folder(folder / container_id) for name, folder in self._folders.items()}

    def read(self) -> Reading:
        """Read everything now."""
        cpu, memory, pids = self._files["cpuacct"], self._files["memory"], self._files["pids"]
        stat = memory.keyed("memory.stat")
        own = self._own["memory"].keyed("memory.oom_control")
        self._kills = max(self._kills, own.get("oom_kill", 0), self._ran_out())
        refused = self._own["pids"].keyed("pids.events").get("max")
        if refused is not None:  # of a container that is gone, the last that was seen stays
            self._refused = max(self._refused or 0, refused)
        elif self._refused == 0 and self._is_full():  # it may have died of what would have been counted next
            self._refused = None
        return Reading(
            cpu_s=scaled(cpu.number("cpuacct.usage"), 1e-9),
            cpu_user_s=scaled(cpu.number("cpuacct.usage_user"), 1e-9),
            cpu_system_s=scaled(cpu.number("cpuacct.usage_sys"), 1e-9),
            throttled_s=scaled(self._files["cpu"].keyed("cpu.stat").get("throttled_time"), 1e-9),
            memory_bytes=memory.number("memory.usage_in_bytes"),
            memory_peak_bytes=memory.number("memory.max_usage_in_bytes"),
            memory_anon_bytes=stat.get("total_rss"),
            memory_file_bytes=stat.get("total_cache"),
            memory_kernel_bytes=memory.number("memory.kmem.usage_in_bytes"),
            pids=pids.number("pids.current"),
            pids_peak=None if self._again else pids.number("pids.peak"),
            **self._io(),
            oom_kills=self._kills,
            forks_refused=self._refused,
        )

    def in_force(self) -> dict[str, str]:
        """Read back the limits that hold: the least of those on the run's group and on the container's own."""
        return limits_in_force(
            memory=self._least("memory", _LIMIT),
            memory_and_swap=self._least("memory", _WITH_SWAP),
            pids=self._least("pids", "pids.max"),
            quota_us=self._least("cpu", "cpu.cfs_quota_us"),
            period_us=self._least("cpu", "cpu.cfs_period_us"),
        )

    def yield_to_others(self) -> None:
        """Let runs that have computed less go first."""
        with contextlib.suppress(OSError):  # the group is on its way out
            self._write("cpu", "cpu.shares", _SHARES // YIELDS_BY)

    def go_first(self) -> None:
        """Let a run that ends go before all others."""
        with contextlib.suppress(OSError):  # it is gone already
            self._write("cpu", "cpu.shares", _SHARES * ENDS_BY)

    def remove(self) -> None:
        """Remove the group in every hierarchy."""
        self.close()
        for home in homes(self._root):  # the engine removes the container's own group, and leaves what lies above it
            remove(home / self._cell)

    def _limit(self, limits: Limits) -> None:
        before = number(self._folders["memory"] / _WITH_SWAP)
        raised = before is not None and limits.memory_bytes > before
        for name in (_WITH_SWAP, _LIMIT) if raised else (_LIMIT, _WITH_SWAP):  # with swap it is never less
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting has no swap limit to set
                self._write("memory", name, limits.memory_bytes)
        self._write("pids", "pids.max", limits.pids)
        self._write("cpu", "cpu.cfs_quota_us", quota_us(limits))

    def close(self) -> None:
        """Let go of what is held open; another process removes the group."""
        if self._ooms is not None:
            os.close(self._ooms)
            self._ooms = None
        for folder in (*self._files.values(), *self._own.values()):
            folder.close()

    def _least(self, controller: str, name: str) -> int | None:
        found = [folder.number(name) for folder in (self._files[controller], self._own[controller])]
        return min((value for value in found if value is not None), default=None)

    def _is_full(self) -> bool:
        peak, limit = (self._files["pids"].number(name) for name in ("pids.peak", "pids.max"))
        return peak is not None and peak == limit

    def _ran_out(self) -> int:
        if self._ooms is None:
            return 0
        try:
            signalled = os.eventfd_read(self._ooms)
        except BlockingIOError:
            return 0
        # Where a group above ran out, ours is told too; then its own limit was never met. failcnt cannot tell: memory
        # and swap together are charged first, and since Linux 6.15 only refusals of memory alone are counted.
        peak, limit = (self._files["memory"].number(name) for name in ("memory.max_usage_in_bytes", _LIMIT))
        met = peak is not None and limit is not None and peak >= limit - _BATCH_BYTES
        return min(1, signalled) if met else 0

    def _io(self) -> dict[str, int | None]:
        folder = self._files.get("blkio")
        if folder is None:
            return {}
        found = {"Read": 0, "Write": 0}
        told = list(words(folder.read("blkio.throttle.io_service_bytes_recursive")))
        for _, direction, count in (line for line in told if len(line) == len(("device", "direction", "bytes"))):
            found[direction] = found.get(direction, 0) + int(count)
        return {"io_read_bytes": found["Read"], "io_write_bytes": found["Write"]} if told else {}

    def _write(self, controller: str, name: str, value: object) -> None:
        write(self._folders[controller] / name, value)


def homes(root: Path) -> tuple[Path, ...]:
    """Find the folders that hold our groups; on v1 the engine makes groups in every hierarchy, not only in ours."""
    return tuple(path for path in (root / "isolation", *root.glob("*/isolation")) if path.is_dir())

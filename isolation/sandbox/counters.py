"""
The kernel's counters of one run, read from files: cgroup v1 and v2 through one schema.

A run has a group of its own, the container's group lies in it, and so the counters outlive the container::

    v1   <root>/<controller>/isolation/<cell>/<container id>          for memory, cpu, cpuacct, pids, blkio
    v2   <root>/isolation/<cell>/<container id>                       cgroupfs driver
    v2   <root>/isolation.slice/isolation-<cell>.slice/docker-….scope systemd driver

What the kernel lacks is None. Sources: the kernel's cgroup-v1/*.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from isolation.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.model.policy import Limits

CGROUP_ROOT = Path("/sys/fs/cgroup")
_V1_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "blkio")
_V1_SLACK_BYTES = 4 * 2**20
_PERIOD_US = 100_000
_CGROUP_V2 = 2
_BUSY_FOR_S = 2.0
"""How long the kernel may need to let go of a dead container's group."""


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

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return the limit for the container's own group, given who holds the policy's."""

    def watch(self, container_id: str) -> None:
        """Learn which container lies in the group; called when it has started."""

    def read(self) -> Reading:
        """Read everything now; works until ``remove``, also after the container is gone."""

    def remove(self) -> None:
        """Remove the group; its container is gone. Can be called again. Raises EngineError if something lives in it."""


class GroupV1:
    """
    A group on cgroup v1. The limits that matter stand on it, because v1 counts where the limit is.

    The kernel counts a kill for memory in the victim's own group, which dies with the container; but it signals
    an eventfd on every group below the one that ran out (memory.rst, 10). So the policy's limit stands on the
    run's group, the container's own is a little wider, and a signal means: at least one kill.
    """

    def __init__(self, root: Path, cell: str, limits: Limits) -> None:
        self.source = "cgroup v1"
        self.parent: str | None = f"/isolation/{cell}"
        self._root = root
        self._cell = cell
        self._container: str | None = None
        self._refused: int | None = None
        self._kills = 0
        self._folders = {name: root / name / "isolation" / cell for name in _V1_CONTROLLERS if (root / name).is_dir()}
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        if _number(self._folders["memory"] / "memory.use_hierarchy") == 0:  # else our limit would not bind those below
            self._write("memory", "memory.use_hierarchy", 1)
        self._write("memory", "memory.limit_in_bytes", limits.memory_bytes)
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting has no swap limit to set
            self._write("memory", "memory.memsw.limit_in_bytes", limits.memory_bytes)
        self._write("pids", "pids.max", limits.pids)
        self._write("cpu", "cpu.cfs_period_us", _PERIOD_US)
        self._write("cpu", "cpu.cfs_quota_us", max(1000, round(limits.cpus * _PERIOD_US)))
        self._ooms: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            with (self._folders["memory"] / "memory.oom_control").open("rb") as control:
                self._write("memory", "cgroup.event_control", f"{self._ooms} {control.fileno()}")
        except OSError:
            self._close()
            raise

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return a little more than the policy's limit, so that this group is the one that runs out."""
        return limits.memory_bytes + _V1_SLACK_BYTES

    def watch(self, container_id: str) -> None:
        """Learn which container lies in the group."""
        self._container = container_id

    def read(self) -> Reading:
        """Read everything now."""
        stat = _keyed(self._folders["memory"] / "memory.stat")
        own = _keyed(self._own("memory") / "memory.oom_control")
        self._kills = max(self._kills, own.get("oom_kill", 0), self._ran_out())
        refused = _keyed(self._own("pids") / "pids.events").get("max")
        if refused is not None:  # of a container that is gone, the last that was seen stays
            self._refused = max(self._refused or 0, refused)
        cpu = self._folders["cpuacct"]
        return Reading(
            cpu_s=_scaled(_number(cpu / "cpuacct.usage"), 1e-9),
            cpu_user_s=_scaled(_number(cpu / "cpuacct.usage_user"), 1e-9),
            cpu_system_s=_scaled(_number(cpu / "cpuacct.usage_sys"), 1e-9),
            throttled_s=_scaled(_keyed(self._folders["cpu"] / "cpu.stat").get("throttled_time"), 1e-9),
            memory_bytes=_number(self._folders["memory"] / "memory.usage_in_bytes"),
            memory_peak_bytes=_number(self._folders["memory"] / "memory.max_usage_in_bytes"),
            memory_anon_bytes=stat.get("total_rss"),
            memory_file_bytes=stat.get("total_cache"),
            memory_kernel_bytes=_number(self._folders["memory"] / "memory.kmem.usage_in_bytes"),
            pids=_number(self._folders["pids"] / "pids.current"),
            pids_peak=_number(self._folders["pids"] / "pids.peak"),
            **self._io(),
            oom_kills=self._kills,
            forks_refused=self._refused,
        )

    def remove(self) -> None:
        """Remove the group in every hierarchy."""
        self._close()
        for home in _homes(self._root):  # the engine removes the container's own group, and leaves what lies above it
            _remove(home / self._cell)

    def _close(self) -> None:
        if self._ooms is not None:
            os.close(self._ooms)
            self._ooms = None

    def _own(self, controller: str) -> Path:
        return self._folders[controller] / (self._container or "")

    def _ran_out(self) -> int:
        if self._ooms is not None:
            with contextlib.suppress(BlockingIOError):
                return min(1, os.eventfd_read(self._ooms))
        return 0

    def _io(self) -> dict[str, int | None]:
        folder = self._folders.get("blkio")
        if folder is None:
            return {}
        found = {"Read": 0, "Write": 0}
        lines = list(_lines(folder / "blkio.throttle.io_service_bytes_recursive"))
        for _, direction, count in (words for words in lines if len(words) == len(("device", "direction", "bytes"))):
            found[direction] = found.get(direction, 0) + int(count)
        return {"io_read_bytes": found["Read"], "io_write_bytes": found["Write"]} if lines else {}

    def _write(self, controller: str, name: str, value: object) -> None:
        (self._folders[controller] / name).write_text(str(value))


class GroupV2:
    """
    A group on cgroup v2: its files are hierarchical and outlive the container, so the engine sets the limits.

    With the systemd driver the group is a slice that systemd makes when the container starts; ``stop_slice`` has
    systemd forget it, or it would make the folder anew with the next one.
    """

    def __init__(
        self, root: Path, cell: str, *, systemd: bool, stop_slice: Callable[[str], None] | None = None
    ) -> None:
        self.source = "cgroup v2"
        self._throttled: float | None = None
        self._refused: int | None = None
        self._slice = _slice_of(cell) if systemd else ""
        self._stop_slice = stop_slice or _stop_slice
        if systemd:
            self.parent: str | None = self._slice
            self._folder = root / "isolation.slice" / self._slice
        else:
            self.parent = f"/isolation/{cell}"
            self._folder = root / "isolation" / cell

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return the policy's limit: v2 counts a kill in every group above the victim's."""
        return limits.memory_bytes

    def watch(self, container_id: str) -> None:
        """Do nothing: all that is read belongs to the run's own group."""

    def read(self) -> Reading:
        """Read everything now."""
        cpu = _keyed(self._folder / "cpu.stat")
        memory = _keyed(self._folder / "memory.stat")
        devices = [
            dict(word.split("=", 1) for word in words if "=" in word) for words in _lines(self._folder / "io.stat")
        ]
        known = (self._folder / "io.stat").exists()
        return Reading(
            cpu_s=_scaled(cpu.get("usage_usec"), 1e-6),
            cpu_user_s=_scaled(cpu.get("user_usec"), 1e-6),
            cpu_system_s=_scaled(cpu.get("system_usec"), 1e-6),
            throttled_s=self._throttled_s(),
            memory_bytes=_number(self._folder / "memory.current"),
            memory_peak_bytes=_number(self._folder / "memory.peak"),
            memory_anon_bytes=memory.get("anon"),
            memory_file_bytes=memory.get("file"),
            memory_kernel_bytes=memory.get("kernel"),
            pids=_number(self._folder / "pids.current"),
            pids_peak=_number(self._folder / "pids.peak"),
            io_read_bytes=sum(int(device.get("rbytes", 0)) for device in devices) if known else None,
            io_write_bytes=sum(int(device.get("wbytes", 0)) for device in devices) if known else None,
            oom_kills=_keyed(self._folder / "memory.events").get("oom_kill"),
            forks_refused=self._forks_refused(),
        )

    def remove(self) -> None:
        """Remove the group, if systemd has not already."""
        if self._slice:
            self._stop_slice(self._slice)
        _remove(self._folder)

    def _forks_refused(self) -> int | None:
        # Before Linux 6.11 a refusal is counted in the forking process's own group alone; it is read while that lives.
        found = [
            _keyed(path).get("max") for path in (self._folder / "pids.events", *self._folder.glob("*/pids.events"))
        ]
        known = [value for value in (*found, self._refused) if value is not None]
        self._refused = max(known, default=None)
        return self._refused

    def _throttled_s(self) -> float | None:
        # Throttling is counted where the quota stands, on the container's own group; it is read while that lives.
        found = [_keyed(path).get("throttled_usec") for path in self._folder.glob("*/cpu.stat")]
        known = [value for value in found if value is not None]
        if known:
            self._throttled = sum(known) * 1e-6
        return self._throttled


def make_group(
    cell: str, limits: Limits, *, version: int, driver: str, local: bool, root: Path = CGROUP_ROOT
) -> Group | None:
    """
    Make a run's own group, or return None where this host does not let us.

    That is an engine elsewhere, a user without the rights, or a driver whose layout we do not know.
    """
    if not local or os.geteuid() != 0:
        return None
    try:
        if version == _CGROUP_V2:
            return GroupV2(root, cell, systemd=driver == "systemd") if driver in {"systemd", "cgroupfs"} else None
        if driver == "cgroupfs" and all((root / name).is_dir() for name in ("memory", "cpu", "cpuacct", "pids")):
            return GroupV1(root, cell, limits)
    except OSError:
        remove_leftover(cell, root)
    return None


def leftover_groups(root: Path = CGROUP_ROOT) -> tuple[str, ...]:
    """Name the groups of ours that are still there, by cell."""
    found = {path.name for folder in _homes(root) for path in folder.iterdir() if path.is_dir()}
    slices = {_cell_of(path.name) for path in (root / "isolation.slice").glob("isolation-*.slice")}
    return tuple(sorted(found | slices))


def remove_leftover(cell: str, root: Path = CGROUP_ROOT) -> None:
    """Remove a dead controller's group; one that still holds a process stays."""
    slice_folder = root / "isolation.slice" / _slice_of(cell)
    if slice_folder.is_dir():
        _stop_slice(_slice_of(cell))
    for path in (slice_folder, *(home / cell for home in _homes(root))):
        with contextlib.suppress(OSError):  # it holds a process, or another controller's clean-up was first
            path.rmdir()


def _homes(root: Path) -> tuple[Path, ...]:
    """Find the folders that hold our groups; on v1 the engine makes groups in every hierarchy, not only in ours."""
    return tuple(path for path in (root / "isolation", *root.glob("*/isolation")) if path.is_dir())


def _slice_of(cell: str) -> str:
    # In the name of a slice a dash means "within", systemd.slice(5); names of cells have no underscore.
    return f"isolation-{cell.replace('-', '_')}.slice"


def _cell_of(slice_name: str) -> str:
    return slice_name.removeprefix("isolation-").removesuffix(".slice").replace("_", "-")


def _stop_slice(name: str) -> None:
    try:
        done = subprocess.run(["systemctl", "stop", name], capture_output=True, text=True, check=False, timeout=30)  # noqa: S607 - where it lies differs
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"systemd cannot be asked to stop {name}: {error}", hint="Is systemctl there?") from error
    if done.returncode != 0:
        hint = f"`systemctl status {name}` tells more."
        raise EngineError(f"systemd could not stop {name}: {done.stderr.strip()}", hint=hint)


def _remove(folder: Path) -> None:
    until_s = time.monotonic() + _BUSY_FOR_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() >= until_s:
                hint = "Its container was removed, its processes were not; see the engine's log."
                raise EngineError(f"the group {folder} cannot be removed: {error.strerror}", hint=hint) from error
            time.sleep(0.01)
        else:
            return


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        yield from (line.split() for line in path.read_text().splitlines())
    except OSError:  # the kernel lacks the file, or the group is gone
        return


def _keyed(path: Path) -> dict[str, int]:
    pairs = (words for words in _lines(path) if len(words) == len(("key", "value")))
    return {key: int(value) for key, value in pairs if value.isdecimal()}


def _number(path: Path) -> int | None:
    for words in _lines(path):
        return int(words[0]) if words and words[0].isdecimal() else None
    return None


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor

"""Makes the group that this host allows, and finds those that a dead controller left."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.sandbox.groups.files import number, remove_empty
from isolation.sandbox.groups.group import PERIOD_US
from isolation.sandbox.groups.v1 import GroupV1, homes
from isolation.sandbox.groups.v2 import GroupV2, cell_of, slice_of, stop_slice_of_systemd

if TYPE_CHECKING:
    from isolation.model.policy import Limits
    from isolation.sandbox.groups.group import Group

CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_V2 = 2
_SHARE_FOR_RUNS = 0.8
"""
Of memory, processes and processors. In the rest of each period nothing that a recipe computes goes on, and locks of the
kernel's come free that wait for many processes of many runs. Where those may have all of the time, twenty processes in
each of ten runs that fork on and on hold up the start of a container for seconds; with 0.9 of it, they sometimes do.
"""
_SHARES, _WEIGHT = 128, 12
"""An eighth of what the kernel gives a group: the engine's own work, without which no run begins or ends, is first."""


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


def cap_all(*, version: int, driver: str, root: Path = CGROUP_ROOT) -> None:
    """
    Cap all runs together, once: whatever they are allowed one by one, the host keeps a part for itself.

    Raises EngineError where that cannot be done. Sources: cgroup-v1/memory.rst, systemd.resource-control(5).
    """
    if os.geteuid() != 0:
        return
    try:
        _cap_all(root, version=version, driver=driver)
    except (OSError, subprocess.CalledProcessError) as error:
        hint = "Every run would be limited, all of them together would not; see what the group `isolation` lacks."
        raise EngineError(f"the runs of this host cannot be capped together: {error}", hint=hint) from error


def cpus_for_runs(cpus: int) -> float:
    """
    Return how many processors' worth of time all runs together have on a host with so many, and so each at most.

    >>> cpus_for_runs(2)
    1.6
    """
    return cpus * _SHARE_FOR_RUNS


def _cap_all(root: Path, *, version: int, driver: str) -> None:
    memory_bytes = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE_FOR_RUNS)
    pids = int(int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")) * _SHARE_FOR_RUNS)
    cpus = cpus_for_runs(os.cpu_count() or 1)
    quota_us = round(cpus * PERIOD_US)
    if version != _CGROUP_V2:
        caps = {"memory": {"memory.limit_in_bytes": memory_bytes, "memory.memsw.limit_in_bytes": memory_bytes}}
        caps |= {"pids": {"pids.max": pids}, "cpu": {"cpu.shares": _SHARES, "cpu.cfs_quota_us": quota_us}}
        for controller in caps:
            _cap(root / controller / "isolation", caps[controller])
    elif driver == "systemd":
        slice_ = root / "isolation.slice"
        if number(slice_ / "memory.max") is None or number(slice_ / "cpu.max") is None:
            limits = [f"MemoryMax={memory_bytes}", "MemorySwapMax=0", f"TasksMax={pids}"]
            limits += [f"CPUWeight={_WEIGHT}", f"CPUQuota={cpus:.0%}"]
            subprocess.run(["systemctl", "set-property", "--runtime", "isolation.slice", *limits], check=True)  # noqa: S607 - where it lies differs
    else:
        values = {"memory.max": memory_bytes, "pids.max": pids, "cpu.weight": _WEIGHT, "cpu.max": quota_us}
        _cap(root / "isolation", values)


def _cap(folder: Path, values: dict[str, int]) -> None:
    """Lower the limits that are above these; one that somebody set lower stays. A kernel may lack a file."""
    folder.mkdir(exist_ok=True)
    for name, value in values.items():
        path = folder / name
        found = number(path)
        if path.exists() and (found is None or found > value):
            path.write_text(str(value), encoding="ascii")


def leftover_groups(root: Path = CGROUP_ROOT) -> tuple[str, ...]:
    """Name the groups of ours that are still there, by cell."""
    found = {path.name for folder in homes(root) for path in folder.iterdir() if path.is_dir()}
    slices = {cell_of(path.name) for path in (root / "isolation.slice").glob("isolation-*.slice")}
    return tuple(sorted(found | slices))


def remove_leftover(cell: str, root: Path = CGROUP_ROOT) -> None:
    """Remove a dead controller's group; one that still holds a process stays."""
    slice_folder = root / "isolation.slice" / slice_of(cell)
    if slice_folder.is_dir():
        stop_slice_of_systemd(slice_of(cell))
    for path in (slice_folder, *(home / cell for home in homes(root))):
        with contextlib.suppress(OSError):  # it holds a process, or another controller's clean-up was first
            remove_empty(path)

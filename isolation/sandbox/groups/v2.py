"""A run's group on cgroup v2."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.sandbox.groups.files import Folder, lines, number, remove, scaled, words, write
from isolation.sandbox.groups.group import ENDS_BY, PERIOD_US, YIELDS_BY, Reading, limits_in_force, quota_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from isolation.model.policy import Limits


_WEIGHT = 100
"""The kernel's own value for a new group."""


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
        self.holds = not systemd  # which writes what it knows itself, whenever it likes
        self._throttled: float | None = None
        self._again = False
        self._refused: int | None = None
        self._slice = slice_of(cell) if systemd else ""
        self._container: str | None = None
        self._stop_slice = stop_slice_of_systemd if stop_slice is None else stop_slice
        if systemd:
            self.parent: str | None = self._slice
            self._folder = root / "isolation.slice" / self._slice
        else:
            self.parent = f"/isolation/{cell}"
            self._folder = root / "isolation" / cell
        self._files = Folder(self._folder)

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return the policy's limit: v2 counts a kill in every group above the victim's."""
        return limits.memory_bytes

    def limit(self, limits: Limits) -> None:
        """Give a standing cell other limits."""
        values = {
            "memory.max": limits.memory_bytes,
            "memory.swap.max": 0,
            "pids.max": limits.pids,
            "cpu.max": f"{quota_us(limits)} {PERIOD_US}",
        }
        try:
            for name, value in values.items():
                if name != "memory.swap.max" or (self._folder / name).exists():  # a kernel may not count swap
                    write(self._folder / name, value)
        except OSError as error:
            hint = "It is busy with more than an idle cell should be."
            raise EngineError(f"the group {self.parent} takes no other limits: {error.strerror}", hint=hint) from error

    def begin_again(self) -> None:
        """Tell no peaks any more: they are those of all runs."""
        self._again = True
        self.hold()

    def hold(self) -> None:
        """Keep the files open that are read."""
        self._files.hold()

    def processes(self) -> list[int]:
        """Return the processes that live in the container now."""
        own = next(self._folder.glob(f"*{self._container}*"), self._folder / "gone")
        return [int(found[0]) for found in lines(own / "cgroup.procs")]

    def watch(self, container_id: str) -> None:
        """Learn which container lies in the group: its own group holds the limits, unless we wrote them into ours."""
        self._container = container_id

    def read(self) -> Reading:
        """Read everything now."""
        files = self._files
        cpu, memory = files.keyed("cpu.stat"), files.keyed("memory.stat")
        devices = [dict(word.split("=", 1) for word in line if "=" in word) for line in words(files.read("io.stat"))]
        known = bool(devices) or (self._folder / "io.stat").exists()
        return Reading(
            cpu_s=scaled(cpu.get("usage_usec"), 1e-6),
            cpu_user_s=scaled(cpu.get("user_usec"), 1e-6),
            cpu_system_s=scaled(cpu.get("system_usec"), 1e-6),
            throttled_s=self._throttled_s(),
            memory_bytes=files.number("memory.current"),
            memory_peak_bytes=None if self._again else files.number("memory.peak"),
            memory_anon_bytes=memory.get("anon"),
            memory_file_bytes=memory.get("file"),
            memory_kernel_bytes=memory.get("kernel"),
            pids=files.number("pids.current"),
            pids_peak=None if self._again else files.number("pids.peak"),
            io_read_bytes=sum(int(device.get("rbytes", 0)) for device in devices) if known else None,
            io_write_bytes=sum(int(device.get("wbytes", 0)) for device in devices) if known else None,
            oom_kills=files.keyed("memory.events").get("oom_kill"),
            forks_refused=self._forks_refused(),
        )

    def in_force(self) -> dict[str, str]:
        """Read back the limits that hold: the least of those on the container's own group and on ours."""
        own = next(self._folder.glob(f"*{self._container}*"), self._folder / "gone")
        folders = (own,) if self._slice else (own, self._folder)
        memory, swap = _least(folders, "memory.max"), _least(folders, "memory.swap.max")
        if swap is None and not (own / "memory.swap.max").exists():  # a kernel that does not count swap
            swap = 0
        quotas = [_quota_us(folder) for folder in folders]
        return limits_in_force(
            memory=memory,
            memory_and_swap=None if memory is None or swap is None else memory + swap,
            pids=_least(folders, "pids.max"),
            quota_us=min((quota for quota in quotas if quota is not None), default=None),
            period_us=PERIOD_US,
        )

    def yield_to_others(self) -> None:
        """Let runs that have computed less go first."""
        with contextlib.suppress(OSError):  # the kernel has no such weight, or the group is on its way out
            write(self._folder / "cpu.weight", _WEIGHT // YIELDS_BY)

    def go_first(self) -> None:
        """Let a run that ends go before all others."""
        with contextlib.suppress(OSError):  # as above
            write(self._folder / "cpu.weight", _WEIGHT * ENDS_BY)

    def close(self) -> None:
        """Close what is held open."""
        self._files.close()

    def remove(self) -> None:
        """Remove the group, if systemd has not already."""
        self.close()
        if self._slice:
            self._stop_slice(self._slice)
        remove(self._folder)

    def _forks_refused(self) -> int | None:
        # Before Linux 6.11 a refusal is counted in the forking process's own group alone; it is read while that lives.
        folders = (self._files, *map(Folder, self._folder.glob("*/")))
        found = [folder.keyed("pids.events").get("max") for folder in folders]
        known = [value for value in (*found, self._refused) if value is not None]
        self._refused = max(known, default=None)
        return self._refused

    def _throttled_s(self) -> float | None:
        # Throttling is counted where the quota stands, on the container's own group; it is read while that lives.
        found = [Folder(path).keyed("cpu.stat").get("throttled_usec") for path in self._folder.glob("*/")]
        known = [value for value in found if value is not None]
        if known:
            self._throttled = sum(known) * 1e-6
        return self._throttled


def _least(folders: Iterable[Path], name: str) -> int | None:
    found = [number(folder / name) for folder in folders]
    return min((value for value in found if value is not None), default=None)


def _quota_us(folder: Path) -> float | None:
    """Return the processor time of one of our periods; None for no limit."""
    quota, period = [*next(lines(folder / "cpu.max"), []), "", ""][:2]
    return int(quota) / int(period) * PERIOD_US if quota.isdecimal() and period.isdecimal() else None


def slice_of(cell: str) -> str:
    """Name the slice of a cell."""
    # In the name of a slice a dash means "within", systemd.slice(5); names of cells have no underscore.
    return f"isolation-{cell.replace('-', '_')}.slice"


def cell_of(slice_name: str) -> str:
    """Name the cell of a slice."""
    return slice_name.removeprefix("isolation-").removesuffix(".slice").replace("_", "-")


def stop_slice_of_systemd(name: str) -> None:
    """Have systemd forget a slice. Raises EngineError."""
    try:
        done = subprocess.run(["systemctl", "stop", name], capture_output=True, text=True, check=False, timeout=30)  # noqa: S607 - where it lies differs
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"systemd cannot be asked to stop {name}: {error}", hint="Is systemctl there?") from error
    if done.returncode != 0:
        hint = f"`systemctl status {name}` tells more."
        raise EngineError(f"systemd could not stop {name}: {done.stderr.strip()}", hint=hint)

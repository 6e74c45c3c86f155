"""What was measured. None always means "not measured", never zero."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class HostReading:
    """The host's own state at one moment, by psutil."""

    load_1m: float | None = None
    memory_available_bytes: int | None = None
    cpu_count: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One point of the live time series; ``at_s`` counts from the start of the attempt."""

    at_s: float
    cpu_s: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """
    What one attempt used, in one schema for cgroup v1, cgroup v2 and engines that we can only ask.

    ``source`` tells for each field how it was had, such as ``cgroup v1, after the end`` or ``engine, sampled``.
    The three parts of memory were read at the highest sampled total, the peak itself is the kernel's.
    """

    wall_s: float | None = None
    cpu_s: float | None = None
    cpu_user_s: float | None = None
    cpu_system_s: float | None = None
    throttled_s: float | None = None
    memory_peak_bytes: int | None = None
    memory_anon_bytes: int | None = None
    memory_file_bytes: int | None = None
    memory_kernel_bytes: int | None = None
    pids_peak: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    oom_kills: int | None = None
    forks_refused: int | None = None
    output_bytes: int | None = None
    host_start: HostReading = field(default_factory=HostReading)
    host_end: HostReading = field(default_factory=HostReading)
    source: dict[str, str] = field(default_factory=dict)
    series: tuple[Sample, ...] = ()

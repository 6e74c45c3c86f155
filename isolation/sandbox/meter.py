"""Readings of one attempt, taken while it lives, and the usage made from them at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isolation.model.usage import HostReading, Sample, Usage
from isolation.sandbox.groups.group import Reading

if TYPE_CHECKING:
    from isolation.clock import Clock
    from isolation.model.evidence import Stop
    from isolation.sandbox.frames import ReadingFrame
    from isolation.sandbox.groups.group import Group

YIELDS_AFTER_S = 0.2
"""Processor time after which a run weighs less than others: most steps need less, and what needs more can wait."""
_MOST_SAMPLES = 2_000
_FIRST_INTERVAL_S = 0.01
_SLOWER_BY = 1.5
_EXACT = (
    "cpu_s", "cpu_user_s", "cpu_system_s", "throttled_s", "memory_peak_bytes", "pids_peak",
    "io_read_bytes", "io_write_bytes", "oom_kills", "forks_refused",
)  # fmt: skip
_SUMS = (
    "cpu_s", "cpu_user_s", "cpu_system_s", "throttled_s", "io_read_bytes", "io_write_bytes", "oom_kills",
    "forks_refused",
)  # fmt: skip
_PARTS = ("memory_anon_bytes", "memory_file_bytes", "memory_kernel_bytes")


class Meter:
    """
    Samples a group: often at first, since many steps are short, then at an even pace.

    The series stays bounded: when it is full, every second sample goes and the pace halves.

    Parts of memory are kept from the sample with the highest total.
    """

    def __init__(self, group: Group, clock: Clock, interval_s: float, since: Reading | None = None) -> None:
        """``since`` is how far the group's counters had come when the run took it over."""
        self._group = group
        self._since = since
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._pace_s = interval_s
        self._interval_s = min(interval_s, _FIRST_INTERVAL_S)
        self._next_s = self._started_s + self._interval_s
        self._series: list[Sample] = []
        self._fullest: Reading | None = None
        self._host: HostReading | None = None
        self._last = Reading()
        self._yielded = False
        self._met: tuple[Stop, float] | None = None

    @property
    def met(self) -> tuple[Stop, float] | None:
        """The limit that the kernel had to hold against the run first, and since when, on the monotonic clock."""
        return self._met

    @property
    def next_s(self) -> float:
        """Return when the next sample is due, on the monotonic clock."""
        return self._next_s

    def sample(self) -> Sample:
        """Read everything now, and plan the next reading."""
        reading = self._last = self._read()
        if not self._yielded and (reading.cpu_s or 0.0) > YIELDS_AFTER_S:
            self._group.yield_to_others()
            self._yielded = True
        self._host = self._host or read_host()  # not sooner: while the container works, its import costs no time
        now_s = self._clock.monotonic_s()
        if self._met is None and (reading.oom_kills or reading.forks_refused):
            self._met = ("limits.memory" if reading.oom_kills else "limits.pids", now_s)
        self._next_s = now_s + self._interval_s
        self._interval_s = min(self._pace_s, self._interval_s * _SLOWER_BY)
        if self._fullest is None or (reading.memory_bytes or 0) > (self._fullest.memory_bytes or 0):
            self._fullest = reading
        sample = Sample(
            at_s=round(now_s - self._started_s, 4),
            cpu_s=reading.cpu_s,
            memory_bytes=reading.memory_bytes,
            pids=reading.pids,
            io_read_bytes=reading.io_read_bytes,
            io_write_bytes=reading.io_write_bytes,
        )
        self._series.append(sample)
        if len(self._series) >= _MOST_SAMPLES:
            del self._series[::2]
            self._pace_s *= 2
        return sample

    def usage(self, *, wall_s: float, output_bytes: int, own_word: ReadingFrame | None, sampled: bool = False) -> Usage:
        """
        Make the attempt's usage, after its end and before its group is removed.

        ``sampled``: its end came before the last sample, after which the group's counters are not its own any more.
        """
        final = self._last if sampled else self._read()
        live = self._group.source.startswith("engine")
        how = self._group.source if live else f"{self._group.source}, after the end"
        values = {name: getattr(final, name) for name in _EXACT}
        source = {name: how for name, value in values.items() if value is not None}
        if self._fullest is not None:
            parts = {name: getattr(self._fullest, name) for name in _PARTS}
            values |= parts
            source |= {
                name: f"{self._group.source.removesuffix(', sampled')}, sampled at the highest total"
                for name, value in parts.items()
                if value is not None
            }
        if own_word is not None:
            _take_own_word(values, source, own_word, sampled=live)
        # A run that was looked at once, at its end, is too short for the host to have become another meanwhile.
        source |= {"wall_s": "host, monotonic clock", "output_bytes": "host, channel", "host": "psutil"}
        return Usage(
            wall_s=round(wall_s, 6),
            output_bytes=output_bytes,
            host_start=self._host or HostReading(),
            host_end=self._host if self._host is not None and len(self._series) == 1 else read_host(),
            source=source,
            series=tuple(self._series),
            **values,
        )

    def _read(self) -> Reading:
        reading, since = self._group.read(), self._since
        if since is None:
            return reading
        pairs = {name: (getattr(reading, name), getattr(since, name)) for name in _SUMS}
        return replace(
            reading, **{name: None if None in (now, then) else now - then for name, (now, then) in pairs.items()}
        )


def _take_own_word(values: dict[str, Any], source: dict[str, str], own_word: ReadingFrame, *, sampled: bool) -> None:
    """
    Fill gaps with the runner's own reading.

    It was taken at the end, so it also says more than a smaller figure that was sampled before.
    """
    told = {
        "cpu_s": own_word.cpu_user_s + own_word.cpu_system_s,
        "cpu_user_s": own_word.cpu_user_s,
        "cpu_system_s": own_word.cpu_system_s,
        "memory_peak_bytes": own_word.memory_peak_bytes,
        "oom_kills": own_word.oom_kills,
    }
    for name, value in told.items():
        if value is not None and (values[name] is None or (sampled and value > values[name])):
            values[name] = value
            source[name] = "the runner's own reading"


def read_host() -> HostReading:
    """Read the host's own state."""
    import psutil  # noqa: PLC0415 - slow to import

    return HostReading(
        load_1m=round(psutil.getloadavg()[0], 3),
        memory_available_bytes=psutil.virtual_memory().available,
        cpu_count=psutil.cpu_count(),
    )

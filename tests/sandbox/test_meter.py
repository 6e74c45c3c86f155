"""Readings over an attempt's life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from isolation.model.usage import Sample
from isolation.sandbox.frames import ReadingFrame
from isolation.sandbox.groups.group import Reading
from isolation.sandbox.meter import YIELDS_AFTER_S, Meter

if TYPE_CHECKING:
    from isolation.model.policy import Limits


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def monotonic_s(self) -> float:
        """Return the time."""
        return self.at_s

    def now(self) -> datetime:
        """Return the same day always."""
        return datetime(2025, 1, 2, tzinfo=UTC)


class Group:
    """A group whose reading is given."""

    parent: str | None = None
    holds = False

    def __init__(self, source: str = "cgroup v2") -> None:
        self.source = source
        self.reading = Reading()
        self.yielded = 0

    def cell_memory_bytes(self, limits: Limits) -> int:
        """Return the policy's."""
        return limits.memory_bytes

    def limit(self, limits: Limits) -> None:
        """Ignore them."""

    def hold(self) -> None:
        """It has no files."""

    def begin_again(self) -> None:
        """Ignore it."""

    def processes(self) -> list[int]:
        """Tell of none."""
        return []

    def watch(self, container_id: str) -> None:
        """Ignore it."""

    def read(self) -> Reading:
        """Return what was given."""
        return self.reading

    def in_force(self) -> None:
        """Tell nothing."""

    def yield_to_others(self) -> None:
        """Remember it."""
        self.yielded += 1

    def go_first(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def remove(self) -> None:
        """Do nothing."""


OWN_WORD = ReadingFrame(cpu_user_s=9.0, cpu_system_s=8.0, memory_peak_bytes=7)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_series_stays_bounded_and_spans_the_whole_life(clock: Clock) -> None:
    """A run of a week must not fill the host's memory, nor its record."""
    meter = Meter(Group(), clock, 0.1)
    samples = 0
    while clock.at_s < 100 + 7 * 86400 and samples < 50_000:
        meter.sample()
        samples += 1
        clock.at_s = meter.next_s
    series = meter.usage(wall_s=1, output_bytes=0, own_word=None).series

    assert samples < 50_000
    assert 900 < len(series) < 2000
    assert series[-1].at_s > 0.9 * 7 * 86400
    assert [sample.at_s for sample in series] == sorted(sample.at_s for sample in series)


def test_a_sample_has_what_was_read_of_all_that_a_plot_shows(clock: Clock) -> None:
    """What was not measured stays unknown."""
    group = Group()
    meter = Meter(group, clock, 0.1)
    group.reading = Reading(cpu_s=0.5, memory_bytes=10, pids=2, io_read_bytes=30)
    clock.at_s += 0.25
    sample = meter.sample()

    assert sample == Sample(at_s=0.25, cpu_s=0.5, memory_bytes=10, pids=2, io_read_bytes=30, io_write_bytes=None)


def test_the_parts_of_memory_are_those_of_the_fullest_sample(clock: Clock) -> None:
    """They belong together: parts of different moments would add up to no truth."""
    group = Group()
    meter = Meter(group, clock, 0.1)
    for total, anon in ((10, 1), (30, 3), (20, 2)):
        group.reading = Reading(memory_bytes=total, memory_anon_bytes=anon)
        meter.sample()
    usage = meter.usage(wall_s=1, output_bytes=0, own_word=None)

    assert usage.memory_anon_bytes == 3
    assert usage.source["memory_anon_bytes"] == "cgroup v2, sampled at the highest total"


def test_what_was_not_measured_has_no_source(clock: Clock) -> None:
    """None in the value, and nothing said of where it came from."""
    usage = Meter(Group(), clock, 0.1).usage(wall_s=1, output_bytes=0, own_word=None)

    assert (usage.cpu_s, usage.memory_peak_bytes, usage.oom_kills, usage.pids_peak) == (None, None, None, None)
    assert set(usage.source) == {"wall_s", "output_bytes", "host"}


def test_the_runners_own_reading_fills_gaps_alone(clock: Clock) -> None:
    """The kernel's word on a group is worth more than a process's on itself."""
    group = Group()
    group.reading = Reading(cpu_user_s=1.0)
    usage = Meter(group, clock, 0.1).usage(wall_s=1, output_bytes=0, own_word=OWN_WORD)

    assert (usage.cpu_user_s, usage.cpu_system_s, usage.memory_peak_bytes) == (1.0, 8.0, 7)
    assert usage.source["cpu_user_s"] == "cgroup v2, after the end"
    assert usage.source["cpu_system_s"] == "the runner's own reading"


def test_a_live_source_says_that_it_was_sampled(clock: Clock) -> None:
    """An engine's last word is not exact, and must not look so."""
    group = Group("engine, sampled")
    group.reading = Reading(cpu_s=1.0)

    assert Meter(group, clock, 1).usage(wall_s=1, output_bytes=0, own_word=None).source["cpu_s"] == "engine, sampled"


def test_a_run_yields_to_others_once_it_has_computed_a_while(clock: Clock) -> None:
    """Once: its weight is the group's from then on."""
    group = Group()
    meter = Meter(group, clock, 0.1)
    for cpu_s in (None, 0.1, YIELDS_AFTER_S + 0.01, 5.0):
        group.reading = Reading(cpu_s=cpu_s)
        meter.sample()

    assert group.yielded == 1


def test_what_a_cell_does_after_the_last_sample_is_not_the_runs(clock: Clock) -> None:
    """One that stays cleans itself, and that is nobody's usage."""
    group = Group()
    meter = Meter(group, clock, 0.1)
    group.reading = Reading(cpu_s=1.0)
    meter.sample()
    group.reading = Reading(cpu_s=5.0)

    assert meter.usage(wall_s=1, output_bytes=0, own_word=None, sampled=True).cpu_s == 1.0
    assert meter.usage(wall_s=1, output_bytes=0, own_word=None).cpu_s == 5.0

"""The engine's word for a run's counters, asked aside."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.engine_counters import EngineGroup
from isolation.sandbox.groups.group import Reading
from isolation.testing import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator


STATS = {
    "cpu_stats": {
        "cpu_usage": {"total_usage": 2_500_000_000, "usage_in_usermode": 2_000_000_000, "usage_in_kernelmode": 5e8},
        "throttling_data": {"throttled_time": 250_000_000},
    },
    "memory_stats": {"usage": 20480, "max_usage": 65536, "stats": {"total_rss": 4096, "total_cache": 8192}},
    "pids_stats": {"current": 4},
    "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 1}, {"op": "write", "value": 2}]},
}


class Stats(FakeEngine):
    """An engine whose counters are given, and that tells when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: dict[str, object] = STATS
        self._calls = threading.Semaphore(0)

    def stats(self, container_id: str) -> dict[str, object]:
        """Return them."""
        self._calls.release()
        super().stats(container_id)
        return self.reading

    def has_told(self) -> None:
        """Wait until what it tells from now on has been taken in: whoever asks a second time has."""
        while self._calls.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._calls.acquire(timeout=10)


@pytest.fixture
def told() -> Iterator[tuple[Stats, EngineGroup]]:
    engine = Stats()
    group = EngineGroup(engine, ask_every_s=0)
    group.watch(engine.create("a", {"Image": "isolation-runner:latest"}))
    yield engine, group
    group.remove()
    engine.forget()


def test_the_engines_word_is_read_into_the_same_schema(told: tuple[Stats, EngineGroup]) -> None:
    """It tells of no kill and no refused fork: None, so that the judge looks elsewhere."""
    engine, group = told
    engine.has_told()
    reading = group.read()

    assert reading == Reading(
        cpu_s=2.5,
        cpu_user_s=2.0,
        cpu_system_s=0.5,
        throttled_s=0.25,
        memory_bytes=20480,
        memory_peak_bytes=65536,
        memory_anon_bytes=4096,
        memory_file_bytes=8192,
        pids=4,
        io_read_bytes=1,
        io_write_bytes=2,
    )


def test_the_last_reading_stays_when_the_engine_tells_no_more(told: tuple[Stats, EngineGroup]) -> None:
    """A stopped container reads as zeros, and an engine that is gone as an error."""
    engine, group = told
    engine.has_told()
    before = group.read()
    engine.reading = {"pids_stats": {}, "cpu_stats": {"cpu_usage": {"total_usage": 0}}}
    engine.has_told()
    assert group.read() == before
    engine.vanish()

    assert group.read() == before


def test_no_devices_of_the_engines_word_is_none(told: tuple[Stats, EngineGroup]) -> None:
    """No reading and no device look the same in it."""
    engine, group = told
    engine.reading = {**STATS, "blkio_stats": {"io_service_bytes_recursive": []}}
    engine.has_told()

    assert group.read().io_read_bytes is None

"""
What Prometheus is told: counts from the database, so that they are true whoever runs the runs, and what was measured.

Histograms begin when the server does, as Prometheus expects; each run that ends from then on is in them once.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from isolation.clock import timestamp
from isolation.sandbox.pool.pressure import read_pressure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from isolation.clock import Clock
    from isolation.model.run import Attempt
    from isolation.sandbox.pool.pool import Standing
    from isolation.storage.counts import Counts

_OVERLAP = timedelta(seconds=60)
"""So long may a run take from the moment that it writes down as its end until others see it."""
_SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800)
_BYTES = tuple(float(2**power) for power in range(20, 38, 2))
_PRESSURES = ("free", "busy", "full")


class Metrics:
    """One server's metrics. Safe to use from several threads."""

    def __init__(self, counts: Counts, clock: Clock, standing: Callable[[], Standing | None]) -> None:
        self._counts = counts
        self._standing = standing
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock.now()
        self._seen: set[int] = set()
        self._measured = CollectorRegistry()
        make = _Maker(self._measured)
        self._phases = make.histogram(
            "isolation_phase_seconds", "How long a phase of an attempt took.", _SECONDS, "phase"
        )
        self._wall = make.histogram("isolation_attempt_wall_seconds", "How long an attempt's work took.", _SECONDS)
        self._cpu = make.histogram("isolation_attempt_cpu_seconds", "CPU time of an attempt.", _SECONDS)
        self._memory = make.histogram("isolation_attempt_memory_peak_bytes", "Most memory of an attempt.", _BYTES)

    def text(self, covers: Callable[[str], bool]) -> bytes:
        """Write all that is about namespaces that are covered; the host is about the namespace of no name."""
        self._observe()
        return generate_latest(_Covered(self, covers))

    def collect(self) -> Iterator[Metric]:
        """Yield everything, as prometheus_client has it."""
        counted = self._counts.runs()
        waiting = GaugeMetricFamily("isolation_runs_waiting", "Runs in the queue.", labels=["namespace"])
        running = GaugeMetricFamily("isolation_runs_running", "Runs under way.", labels=["namespace"])
        ended = CounterMetricFamily("isolation_runs_ended", "Runs that have ended.", labels=["namespace", "outcome"])
        for (namespace, state, outcome), count in sorted(counted.items()):
            if state == "queued":
                waiting.add_metric([namespace], count)
            elif state == "running":
                running.add_metric([namespace], count)
            else:
                ended.add_metric([namespace, outcome or state], count)
        pressure = GaugeMetricFamily("isolation_host_pressure", "1 for how pressed the host is.", labels=["pressure"])
        now = read_pressure()
        for name in _PRESSURES:
            pressure.add_metric([name], float(name == now))
        yield from (waiting, running, ended, pressure, *self._pool())
        yield from self._measured.collect()

    def _pool(self) -> Iterator[Metric]:
        standing = self._standing()
        if standing is not None:  # else another process has it, and we do not know
            cells = GaugeMetricFamily("isolation_pool_cells", "Cells of the pool in this process.", labels=["state"])
            for state, count in asdict(standing).items():
                cells.add_metric([state], count)
            yield cells

    def _observe(self) -> None:
        with self._lock:
            now = self._clock.now()
            found = self._counts.ended_since(timestamp(self._since))
            for ended in found:
                if ended.number not in self._seen:
                    for attempt in ended.result.attempts:
                        self._measure(ended.namespace, attempt)
            self._seen = {ended.number for ended in found}
            self._since = max(self._since, now - _OVERLAP)

    def _measure(self, namespace: str, attempt: Attempt) -> None:
        for phase, spent_ms in attempt.phases_ms.items():
            self._phases.labels(namespace, phase).observe(spent_ms / 1000)
        usage = attempt.usage
        for histogram, found in (
            (self._wall, usage.wall_s),
            (self._cpu, usage.cpu_s),
            (self._memory, usage.memory_peak_bytes),
        ):
            if found is not None:
                histogram.labels(namespace).observe(found)


@dataclass(frozen=True, slots=True)
class _Maker:
    registry: CollectorRegistry

    def histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, what, ["namespace", *labels], buckets=buckets, registry=self.registry)


@dataclass(frozen=True, slots=True)
class _Covered:
    """The metrics that somebody may see."""

    metrics: Metrics
    covers: Callable[[str], bool]

    def collect(self) -> Iterator[Metric]:
        for family in self.metrics.collect():
            family.samples = [one for one in family.samples if self.covers(one.labels.get("namespace", ""))]
            yield family

"""Values as a page shows them; pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from isolation.rules.bill import QUEUE
from isolation.rules.escape import escape_json
from isolation.rules.retry import escalated
from isolation.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from isolation.model.policy import Limits, Policy
    from isolation.model.progress import StepProgress
    from isolation.model.run import Attempt, StepReport
    from isolation.model.usage import Sample, Usage

_WIDTH = 1000.0
"""Bars are drawn in a box of this width, whatever the screen makes of it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that took time: where it lies, in thousandths of the whole; None where that is not known."""

    name: str
    text: str
    at: float | None
    width: float
    kind: str = ""


def moment(at: str | None) -> str:
    """
    Show a recorded moment.

    >>> moment("2025-01-02T03:04:05.678Z"), moment(None)
    ('2025-01-02 03:04:05Z', '')
    """
    return f"{at[:10]} {at[11:19]}Z" if at else ""


def json_text(value: object) -> str:
    """Show a JSON value, readable; it is escaped after this as any text is."""
    return escape_json(json.dumps(value, ensure_ascii=False, indent=2))


def steps_of(steps: Iterable[StepReport | StepProgress], now_s: float = 0.0) -> list[Bar]:
    """Lay the steps of an attempt out along its time; ``now_s`` is how long it goes on, for those under way."""
    steps = [*steps]
    spans = [_span(step, now_s) for step in steps]
    whole_s = max((end_s for _, end_s in filter(None, spans)), default=0.0) or 1.0
    return [_bar_of(step, span, whole_s) for step, span in zip(steps, spans, strict=True)]


def _bar_of(step: StepReport | StepProgress, span: tuple[float, float] | None, whole_s: float) -> Bar:
    kind = step.outcome.value if step.outcome else ""
    if span is None:
        return Bar(step.name, step.reason or kind or "not begun", None, 0.0, kind)
    began_s, end_s = span
    text = format_seconds(end_s - began_s) + ("" if kind else ", under way")
    return Bar(step.name, text, _WIDTH * began_s / whole_s, max(2.0, _WIDTH * (end_s - began_s) / whole_s), kind)


def _span(step: StepReport | StepProgress, now_s: float) -> tuple[float, float] | None:
    """Return when a step began and ended, or now; None where that is not known, or it has not begun."""
    if step.began_s is None:
        return None
    if step.wall_s is not None:
        return step.began_s, step.began_s + step.wall_s
    return None if step.outcome else (step.began_s, max(now_s, step.began_s))


def bill_of(attempt: Attempt) -> list[Bar]:
    """Lay the phases of an attempt out along its time, in the order in which they began."""
    begins = attempt.phases_at_ms
    ends = [begins[name] + attempt.phases_ms.get(name, 0.0) for name in begins if name != QUEUE]
    whole_ms = max(ends, default=0.0) or 1.0
    return [
        Bar(
            name,
            f"{attempt.phases_ms[name]:.1f} ms",
            None if name == QUEUE or name not in begins else _WIDTH * begins[name] / whole_ms,
            max(2.0, _WIDTH * attempt.phases_ms[name] / whole_ms),
        )
        for name in sorted(attempt.phases_ms, key=lambda name: begins.get(name, float("inf")))
    ]


def figures_of(usage: Usage, limits: Limits) -> Iterator[tuple[str, str, str]]:
    """Name what was measured, what it came to, and what it was bounded by; empty where there is no bound."""
    yield "wall", format_seconds(usage.wall_s), format_seconds(limits.wall_s)
    yield "CPU", format_seconds(usage.cpu_s), f"{limits.cpus:g} CPUs"
    yield "throttled", format_seconds(usage.throttled_s), ""
    yield "memory, at most", format_bytes(usage.memory_peak_bytes), format_bytes(limits.memory_bytes)
    yield "anonymous", format_bytes(usage.memory_anon_bytes), ""
    yield "files", format_bytes(usage.memory_file_bytes), ""
    yield "kernel", format_bytes(usage.memory_kernel_bytes), ""
    yield (
        "processes, at most",
        "-" if usage.pids_peak is None else str(usage.pids_peak),
        str(limits.pids),
    )
    yield "read", format_bytes(usage.io_read_bytes), ""
    yield "written", format_bytes(usage.io_write_bytes), ""


def side_by_side(attempts: Sequence[Attempt], policy: Policy) -> Iterator[tuple[str, list[str]]]:
    """Name what is worth comparing between attempts, and show it for each; limits where they were raised."""
    limits = [limits_of(attempt, attempts, policy) for attempt in attempts]
    usages = [attempt.usage for attempt in attempts]
    yield "ended", [attempt.outcome.value.replace("_", " ") for attempt in attempts]
    yield "cause", [attempt.cause for attempt in attempts]
    yield "began", [moment(attempt.started_at) for attempt in attempts]
    yield "wall", [format_seconds(usage.wall_s) for usage in usages]
    yield "CPU", [format_seconds(usage.cpu_s) for usage in usages]
    yield "memory, at most", [format_bytes(usage.memory_peak_bytes) for usage in usages]
    for name, texts in (
        ("memory's limit", [format_bytes(one.memory_bytes) for one in limits]),
        ("wall's limit", [format_seconds(one.wall_s) for one in limits]),
        ("processes' limit", [str(one.pids) for one in limits]),
        ("limit of /tmp", [format_bytes(one.tmp_bytes) for one in limits]),
    ):
        if len({*texts}) > 1:
            yield name, texts
    for index, step in enumerate(attempts[-1].steps):
        found = [attempt.steps[index] if index < len(attempt.steps) else None for attempt in attempts]
        yield f"step {step.name}", [_ended(one) if one else "" for one in found]


def _ended(step: StepReport) -> str:
    return f"{step.outcome.value}, {format_seconds(step.wall_s)}"


def limits_of(attempt: Attempt, attempts: Sequence[Attempt], policy: Policy) -> Limits:
    """Return the limits that an attempt had: a retry may raise the one that was met."""
    return escalated(policy, [one.outcome for one in attempts if one.number < attempt.number]).limits


def plots_of(series: Sequence[Sample], limits: Limits) -> list[dict[str, object]]:
    """Return what is to be drawn: for each plot a title, a unit, the lines by name, and the limit if there is one."""
    if len(series) < 2:  # noqa: PLR2004 - one point is no line
        return []
    reads = _rates(series, lambda sample: sample.io_read_bytes)
    writes = _rates(series, lambda sample: sample.io_write_bytes)
    found: list[dict[str, object]] = [
        {
            "title": "CPU",
            "unit": "CPUs",
            "limit": limits.cpus,
            "lines": {"CPU": _rates(series, lambda sample: sample.cpu_s)},
        },
        {
            "title": "memory",
            "unit": "bytes",
            "limit": limits.memory_bytes,
            "lines": {"memory": [sample.memory_bytes for sample in series]},
        },
        {
            "title": "processes",
            "unit": "",
            "limit": limits.pids,
            "lines": {"processes": [sample.pids for sample in series]},
        },
        {"title": "I/O a second", "unit": "bytes", "limit": None, "lines": {"read": reads, "written": writes}},
    ]
    at = [sample.at_s for sample in series]
    return [{**plot, "at": at} for plot in found]


def _rates(series: Sequence[Sample], counter: Callable[[Sample], float | None]) -> list[float | None]:
    """Return how fast a counter went up before each sample, a second; None where that is not known."""
    rates: list[float | None] = [None]
    for before, after in pairwise(series):
        then, now, spent_s = counter(before), counter(after), after.at_s - before.at_s
        rates.append((now - then) / spent_s if now is not None and then is not None and spent_s > 0 else None)
    return rates


def document(value: object) -> str:
    """Write one of our own values as JSON for the page's script."""
    return json.dumps(value if isinstance(value, list | dict) else asdict(value))  # type: ignore[call-overload, unused-ignore]

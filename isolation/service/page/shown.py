"""Values as a page shows them; pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from isolation.rules.bill import QUEUE
from isolation.rules.escape import escape_json
from isolation.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.model.policy import Limits
    from isolation.model.run import Attempt
    from isolation.model.usage import Usage

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


def steps_of(attempt: Attempt) -> list[Bar]:
    """Lay the steps of an attempt out along its time."""
    spans = [
        (step, step.began_s, step.wall_s)
        for step in attempt.steps
        if step.began_s is not None and step.wall_s is not None
    ]
    whole_s = max((began_s + wall_s for _, began_s, wall_s in spans), default=0.0) or 1.0
    drawn = {
        step.name: (_WIDTH * began_s / whole_s, max(2.0, _WIDTH * wall_s / whole_s)) for step, began_s, wall_s in spans
    }
    bars: list[Bar] = []
    for step in attempt.steps:
        at, width = drawn.get(step.name, (None, 0.0))
        text = format_seconds(step.wall_s) if step.wall_s is not None else step.reason or step.outcome.value
        bars.append(Bar(step.name, text, at, width, step.outcome.value))
    return bars


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


def figures_of(usage: Usage, limits: Limits | None) -> Iterator[tuple[str, str, str]]:
    """Name what was measured, what it came to, and what it was bounded by; empty where there is no bound."""
    yield "wall", format_seconds(usage.wall_s), format_seconds(limits.wall_s) if limits else ""
    yield "CPU", format_seconds(usage.cpu_s), f"{limits.cpus:g} CPUs" if limits else ""
    yield "throttled", format_seconds(usage.throttled_s), ""
    yield "memory, at most", format_bytes(usage.memory_peak_bytes), format_bytes(limits.memory_bytes) if limits else ""
    yield "anonymous", format_bytes(usage.memory_anon_bytes), ""
    yield "files", format_bytes(usage.memory_file_bytes), ""
    yield "kernel", format_bytes(usage.memory_kernel_bytes), ""
    yield (
        "processes, at most",
        "-" if usage.pids_peak is None else str(usage.pids_peak),
        str(limits.pids) if limits else "",
    )
    yield "read", format_bytes(usage.io_read_bytes), ""
    yield "written", format_bytes(usage.io_write_bytes), ""


def plots_of(usage: Usage, limits: Limits | None) -> list[dict[str, object]]:
    """Return what is to be drawn: for each plot a title, a unit, the points, and the limit if there is one."""
    series = usage.series
    at = [sample.at_s for sample in series]
    if len(at) < 2:  # noqa: PLR2004 - one point is no line
        return []
    cpus: list[float | None] = [None]
    for before, after in pairwise(series):
        spent_s = after.at_s - before.at_s
        known = before.cpu_s is not None and after.cpu_s is not None and spent_s > 0
        cpus.append(
            (after.cpu_s - before.cpu_s) / spent_s if known and after.cpu_s and before.cpu_s is not None else None
        )
    found: list[dict[str, object]] = [
        {"title": "CPU", "unit": "CPUs", "limit": limits.cpus if limits else None, "values": cpus},
        {
            "title": "memory",
            "unit": "bytes",
            "limit": limits.memory_bytes if limits else None,
            "values": [sample.memory_bytes for sample in series],
        },
        {
            "title": "processes",
            "unit": "",
            "limit": limits.pids if limits else None,
            "values": [sample.pids for sample in series],
        },
    ]
    return [{**plot, "at": at} for plot in found]


def document(value: object) -> str:
    """Write one of our own values as JSON for the page's script."""
    return json.dumps(value if isinstance(value, list | dict) else asdict(value))  # type: ignore[call-overload, unused-ignore]

"""Shows what a run asked of the network, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.units import format_bytes

if TYPE_CHECKING:
    from isolation.cli.paint import Paint
    from isolation.model.traffic import Decision, Traffic

_MOST_ROWS = 20
_PLACE_CHARS = 80
_WHY_CHARS = 160


def network_lines(traffic: Traffic, paint: Paint) -> list[str]:
    """
    List what was asked for, the same in one line; nothing if there was nothing.

    The record, as ``--json`` shows it, has every request with its time.
    """
    if not traffic.decisions:
        return []
    groups: dict[tuple[bool, str, str], list[Decision]] = {}
    for decision in traffic.decisions:
        groups.setdefault((decision.allowed, _place(decision), decision.why), []).append(decision)
    rows = [_row(decisions) for decisions in groups.values()]
    allowed = [key[0] for key in groups]

    def painted(row: int, column: int, cell: str) -> str:
        return paint("green" if allowed[row] else "red", cell) if column == 0 else cell

    total = f"{format_bytes(traffic.bytes_sent)} sent, {format_bytes(traffic.bytes_received)} received"
    lines = [f"network: {total}", *table(rows[:_MOST_ROWS], right=[2], paint=painted)]
    if len(rows) > _MOST_ROWS:
        lines.append(f"  ... and {len(rows) - _MOST_ROWS} more, see --json")
    if traffic.left_out:
        lines.append(f"  ... and {traffic.left_out} more requests, which are counted and not kept")
    return lines


def _row(same: list[Decision]) -> list[str]:
    first = same[0]
    sent, received = (sum(sizes) for sizes in zip(*((one.bytes_sent, one.bytes_received) for one in same), strict=True))
    moved = f"{format_bytes(sent)} sent, {format_bytes(received)} received" if sent or received else ""
    note = "; ".join(part for part in (moved, clip(first.why, _WHY_CHARS) if first.why else "") if part)
    return ["✓" if first.allowed else "✗", clip(_place(first), _PLACE_CHARS), f"{len(same)}x", note]


def _place(decision: Decision) -> str:
    if not decision.host:
        return "(no request)"
    host = f"[{decision.host}]" if ":" in decision.host else decision.host
    at = f" at {decision.address}" if decision.address not in {"", decision.host} else ""
    return f"{host}:{decision.port}{at}"

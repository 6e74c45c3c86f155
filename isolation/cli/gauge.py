"""Shows what an attempt used, against what it might have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.table import table
from isolation.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from isolation.model.policy import Limits
    from isolation.model.usage import Usage

_BAR_CHARS = 20


def usage_lines(usage: Usage, limits: Limits | None) -> list[str]:
    """Write the usage, ``-`` for what was not measured; without limits there is nothing to compare with."""
    memory, pids, wall = (limits.memory_bytes, limits.pids, limits.wall_s) if limits else (None, None, None)
    rows = [
        ["wall", _of(format_seconds(usage.wall_s), format_seconds(wall)), bar(usage.wall_s, wall), ""],
        ["CPU", format_seconds(usage.cpu_s), "", _cpu(usage)],
        [
            "memory",
            _of(format_bytes(usage.memory_peak_bytes), format_bytes(memory)),
            bar(usage.memory_peak_bytes, memory),
            _memory(usage),
        ],
        ["processes", _of(_count(usage.pids_peak), _count(pids)), bar(usage.pids_peak, pids), ""],
        ["I/O", f"{format_bytes(usage.io_read_bytes)} read, {format_bytes(usage.io_write_bytes)} written", "", ""],
    ]
    return table(rows)


def bar(used: float | None, limit: float | None) -> str:
    """
    Draw the used part of a limit; empty where either is not known.

    >>> bar(128, 512)
    '[#####...............]'
    """
    if used is None or not limit:
        return ""
    filled = min(_BAR_CHARS, max(0, round(_BAR_CHARS * used / limit)))
    return f"[{'#' * filled}{'.' * (_BAR_CHARS - filled)}]"


def _of(used: str, limit: str) -> str:
    return used if limit == "-" else f"{used} of {limit}"


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _cpu(usage: Usage) -> str:
    if usage.cpu_user_s is None and usage.cpu_system_s is None:
        return ""
    text = f"user {format_seconds(usage.cpu_user_s)}, system {format_seconds(usage.cpu_system_s)}"
    return f"{text}, throttled {format_seconds(usage.throttled_s)}" if usage.throttled_s else text


def _memory(usage: Usage) -> str:
    parts = {"anon": usage.memory_anon_bytes, "file": usage.memory_file_bytes, "kernel": usage.memory_kernel_bytes}
    said = ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.items() if size is not None)
    return f"sampled: {said}" if said else ""

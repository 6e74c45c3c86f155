"""How pressed the host is: what keeps a pool from making cells ahead that nobody asked for yet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Pressure = Literal["free", "busy", "full"]

_LEAST_FREE_SHARE = 0.1
_STALLED_PERCENT = 10.0
_BUSY_PERCENT = 60.0
_BUSY_LOAD = 2.0


def read_pressure(proc: Path = Path("/proc")) -> Pressure:
    """
    Say how pressed the host is.

    ``full``: a tenth of the memory is left, or everything waits for memory more than a tenth of the time; then no cell
    is made ahead. ``busy``: something waits for a processor most of the time, or as many programs as there are
    processors wait beside those that run; then one cell at a time is. What the kernel does not tell counts as free.
    Sources: proc_meminfo(5), the kernel's accounting/psi.rst, proc_loadavg(5).
    """
    if _memory_is_short(proc) or _stalled(proc / "pressure/memory", "full") > _STALLED_PERCENT:
        return "full"
    load = _first_number(proc / "loadavg")
    if _stalled(proc / "pressure/cpu", "some") > _BUSY_PERCENT or load > _BUSY_LOAD * (os.cpu_count() or 1):
        return "busy"
    return "free"


def _memory_is_short(proc: Path) -> bool:
    found = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in _lines(proc / "meminfo"))}
    total, left = found.get("MemTotal"), found.get("MemAvailable")
    return total is not None and left is not None and left < total * _LEAST_FREE_SHARE


def _stalled(path: Path, kind: str) -> float:
    """Return for how many percent of the last ten seconds something, or everything, waited."""
    for line in _lines(path):
        words = line.split()
        if words[:1] == [kind] and words[1].startswith("avg10="):
            return float(words[1].removeprefix("avg10="))
    return 0.0


def _first_number(path: Path) -> float:
    return next((float(line.split()[0]) for line in _lines(path)), 0.0)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except OSError:  # a kernel built without it
        return []

"""The one module that reads and writes quantities with units, such as ``512MiB`` and ``30s``."""

from __future__ import annotations

import math
import re

_BYTES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_KIBI = 1024
_LARGEST = 1e15
_WHOLE_FROM = 100
_MINUTES_FROM_S = 120
_QUANTITY = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", re.ASCII)


def _parse(text: object, factors: dict[str, float] | dict[str, int], example: str) -> float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"{text!r} is no quantity; write one such as {example}")  # noqa: TRY004 - pydantic's validators raise it
    if not isinstance(text, str) and 0 <= text < _LARGEST:  # not by its text: 0.00001 is 1e-05 there
        return float(text) * factors[""]
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity; write one such as {example}")
    number, unit = match.groups()
    factor = factors.get(unit.lower())
    if factor is None:
        known = ", ".join(name for name in factors if name)
        raise ValueError(f"{text!r} has the unknown unit {unit!r}; known: {known}")
    return float(number) * factor


def parse_bytes(text: object) -> int:
    """
    Read a size in bytes; units of 1000 (``MB``) and of 1024 (``MiB``, ``M``) are both known.

    Raises ValueError with a sentence for people.

    >>> parse_bytes("512MiB"), parse_bytes("1.5 GB"), parse_bytes(4096)
    (536870912, 1500000000, 4096)
    """
    return round(_parse(text, _BYTES, "512MiB"))


def parse_seconds(text: object) -> float:
    """
    Read a duration in seconds.

    Raises ValueError with a sentence for people.

    >>> parse_seconds("250ms"), parse_seconds("1.5m"), parse_seconds(30)
    (0.25, 90.0, 30.0)
    """
    seconds = _parse(text, _SECONDS, "30s")
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is no duration; write one such as 30s")
    return seconds


def format_bytes(size_bytes: float | None) -> str:
    """
    Write a size for people; ``-`` where it was not measured.

    >>> format_bytes(536870912), format_bytes(1536), format_bytes(12), format_bytes(None)
    ('512 MiB', '1.5 KiB', '12 B', '-')
    """
    if size_bytes is None:
        return "-"
    size, units = float(size_bytes), ["TiB", "GiB", "MiB", "KiB", "B"]
    while abs(size) >= _KIBI and len(units) > 1:
        size /= _KIBI
        units.pop()
    return f"{size:.0f} {units[-1]}" if size == round(size) or size >= _WHOLE_FROM else f"{size:.1f} {units[-1]}"


def format_seconds(seconds: float | None) -> str:
    """
    Write a duration for people; ``-`` where it was not measured.

    >>> format_seconds(0.0123), format_seconds(2.5), format_seconds(150), format_seconds(None)
    ('12 ms', '2.5 s', '2 min 30 s', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTES_FROM_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"

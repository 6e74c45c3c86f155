"""
Draws the bill of an attempt: each phase where it lies in the attempt's time, the steps within ``run``.

::

    bill      ms
      pack   3.6  #
      start   56   ##########
      run    8.2              ##
        load 3.9               #
    the steps 4 ms (4 %), ours 90 ms (96 %)
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.rules.bill import QUEUE, share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isolation.cli.paint import Paint
    from isolation.model.run import Attempt

_MOST_STEPS = 20
_NAME_CHARS = 24
_FEWEST_BAR_CHARS = 10
_MOST_BAR_CHARS = 80
_WIDTH = 80
"""In columns, where nothing is known of who reads it."""
_WHOLE_FROM = 10

_Row = tuple[str, float, float | None]
"""A name, how long it took in ms, and when it began, which is None where it cannot be drawn."""


def columns() -> int:
    """Tell how wide a drawing may be: as the terminal is."""
    return shutil.get_terminal_size((_WIDTH, 0)).columns if sys.stdout.isatty() else _WIDTH


def bill_lines(attempts: Sequence[Attempt], paint: Paint, width: int = _WIDTH) -> list[str]:
    """Draw the bills of all attempts that have one, within so many columns; a narrow place has the figures alone."""
    lines: list[str] = []
    for attempt in attempts:
        if attempt.phases_ms:
            which = f"bill of attempt {attempt.number}" if len(attempts) > 1 else "bill"
            lines += ([""] if lines else []) + [which, *_one(attempt, paint, width)]
    return lines


def _one(attempt: Attempt, paint: Paint, width: int) -> list[str]:
    rows = [*_rows(attempt)]
    figures = table([[name, f"{_figure(spent_ms)} ms"] for name, spent_ms, _ in rows], right=[1])
    room = min(_MOST_BAR_CHARS, width - max(map(len, figures)) - 2)
    whole_ms = max((at_ms + spent_ms for _, spent_ms, at_ms in rows if at_ms is not None), default=0.0)
    lines = figures
    if room >= _FEWEST_BAR_CHARS and whole_ms:
        drawn = [_bar(spent_ms, at_ms, whole_ms, room) for _, spent_ms, at_ms in rows]
        styles = ["green" if name.startswith(" ") else "" for name, _, _ in rows]
        bars = [paint(style, bar) for style, bar in zip(styles, drawn, strict=True)]
        lines = [f"{line}  {bar}".rstrip() for line, bar in zip(figures, bars, strict=True)]
    return [*lines, *_share_lines(attempt)]


def _rows(attempt: Attempt) -> Iterator[_Row]:
    """List phases in the order of their beginning, and within ``run`` the steps; those of old records as they stand."""
    at_ms = attempt.phases_at_ms
    for name in sorted(attempt.phases_ms, key=lambda name: at_ms.get(name, float("inf"))):
        if name != "import":
            yield clip(name, _NAME_CHARS), attempt.phases_ms[name], None if name == QUEUE else at_ms.get(name)
        if name == "run":
            yield from _step_rows(attempt)


def _step_rows(attempt: Attempt) -> Iterator[_Row]:
    ran = [step for step in attempt.steps if step.wall_s is not None]
    longest = sorted(ran, key=lambda step: -(step.wall_s or 0.0))[:_MOST_STEPS]
    for step in ran:
        if step in longest:
            at_ms = None if step.began_s is None else step.began_s * 1000
            yield f"  {clip(step.name, _NAME_CHARS)}", (step.wall_s or 0.0) * 1000, at_ms
    if len(ran) > len(longest):
        rest_s = sum(step.wall_s or 0.0 for step in ran) - sum(step.wall_s or 0.0 for step in longest)
        yield f"  {len(ran) - len(longest)} shorter steps", rest_s * 1000, None
    if "import" in attempt.phases_ms:
        yield "  (of these: import)", attempt.phases_ms["import"], None


def _share_lines(attempt: Attempt) -> list[str]:
    shared = share(attempt)
    if shared is None or not shared.whole_ms:
        return []
    parts = (("the steps", shared.steps_ms), ("ours", shared.ours_ms))
    said = ", ".join(f"{who} {_figure(ms)} ms ({100 * ms / shared.whole_ms:.0f} %)" for who, ms in parts)
    return [f"  of {_figure(shared.whole_ms)} ms: {said}"]


def _bar(spent_ms: float, at_ms: float | None, whole_ms: float, room: int) -> str:
    """
    Draw a phase where it lies; what took any time at all has one mark at least.

    >>> _bar(50, 25, 100, 20)
    '     ##########'
    """
    if at_ms is None:
        return ""
    begin = min(room - 1, int(room * at_ms / whole_ms))
    return " " * begin + "#" * max(1, min(room - begin, round(room * spent_ms / whole_ms)))


def _figure(ms: float) -> str:
    return f"{ms:.0f}" if ms >= _WHOLE_FROM else f"{ms:.1f}"

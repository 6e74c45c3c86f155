"""Plain tables: columns as wide as their widest cell, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def width(text: str) -> int:
    """
    Count the terminal columns that a text takes.

    >>> width("abc"), width("文字")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def table(
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    indent: str = "  ",
    paint: Callable[[int, int, str], str] = lambda _row, _column, cell: cell,
) -> list[str]:
    r"""
    Lay out rows of the same length; the columns in ``right`` are flush right.

    ``paint`` is asked for each cell after the widths are known: (row, column, padded cell).

    >>> print(*table([["step", "wall"], ["a", "12 ms"]], right=[1]), sep="\n")
      step   wall
      a     12 ms
    """
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for number, row in enumerate(rows):
        cells = []
        for column, cell in enumerate(row):
            room = " " * (widths[column] - width(cell))
            cells.append(paint(number, column, room + cell if column in right else cell + room))
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines

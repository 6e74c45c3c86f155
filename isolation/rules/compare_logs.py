"""
Compare what the steps of two runs wrote: each stream of each step by itself, as steps at once write in any order.

Lines may hold a time or a duration, so a difference does not count. It shows where two runs parted.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import TYPE_CHECKING

from isolation.model.difference import Difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from isolation.model.event import LogLine

    _Streams = dict[tuple[str, str], list[str]]


def log_differences(left: Iterable[LogLine], right: Iterable[LogLine]) -> Iterator[Difference]:
    """Yield, for each step and stream, the first line that differs, and the number of lines where it does."""
    one, another = _streams(left), _streams(right)
    for source in dict.fromkeys([*one, *another]):
        yield from _differences(" ".join(source), one.get(source, []), another.get(source, []))


def _differences(source: str, left: list[str], right: list[str]) -> Iterator[Difference]:
    for number, (was, now) in enumerate(zip_longest(left, right), 1):
        if was != now:
            yield Difference(
                area="log",
                what=f"{source}: line {number}",
                left=was,
                right=now,
                counts=False,
                missing="left" if was is None else "right" if now is None else "",
            )
            break
    if len(left) != len(right):
        yield Difference(area="log", what=f"{source}: lines", left=len(left), right=len(right), counts=False)


def _streams(lines: Iterable[LogLine]) -> _Streams:
    streams: _Streams = {}
    for line in lines:
        source = (f"step {line.step}" if line.step else "the run", line.stream)
        text = f"{line.level} {line.text}" if line.level else line.text
        streams.setdefault(source, []).append(f"{text} {json.dumps(line.fields)}" if line.fields else text)
    return streams

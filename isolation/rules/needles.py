"""
Finds needles in bytes that come in pieces, and puts marks in their place.

A needle is looked for by its first six bytes, all needles with one compiled expression. One that is longer than 64
bytes counts from its 64th byte on; what comes then is swallowed for as long as it goes on as the needle does. So less
than 64 bytes are ever held back, a needle that was cut off does not show, and the cost follows the bytes, in whatever
pieces they come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ANCHOR_BYTES = 6
HEAD_BYTES = 64
_BLOCK_BYTES = 64


@dataclass(frozen=True)
class Needle:
    """Bytes to find, at least six; the mark to put in their place; the name to tell."""

    content: bytes = field(repr=False)
    mark: bytes
    name: str

    @cached_property
    def head(self) -> bytes:
        """As much of it as decides."""
        return self.content[:HEAD_BYTES]


class Needles:
    """A set of needles, ready to be looked for; of two that begin at one place the longer is found."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self.all = sorted(needles, key=lambda needle: (-len(needle.content), needle.content))
        self._by_anchor: dict[bytes, list[Needle]] = {}
        for needle in self.all:
            self._by_anchor.setdefault(needle.content[:ANCHOR_BYTES], []).append(needle)
        self._anchor = re.compile(_any_of([*self._by_anchor]))
        self._starts = {anchor[:size] for anchor in self._by_anchor for size in range(1, ANCHOR_BYTES)}

    def next_candidate(self, content: bytes, start: int) -> int | None:
        """Return where the next six bytes stand with which a needle begins."""
        match = self._anchor.search(content, start)
        return match.start() if match else None

    def at(self, content: bytes, place: int) -> Needle | None:
        """Return the longest needle that stands at a candidate's place, as far as it decides."""
        return next((one for one in self._of(content, place) if content.startswith(one.head, place)), None)

    def begun_at(self, content: bytes, place: int) -> Needle | None:
        """Return a needle of which all that follows a candidate's place is the beginning."""
        left = len(content) - place
        if left >= HEAD_BYTES:
            return None
        rest = content[place:]
        return next(
            (one for one in self._of(content, place) if len(one.head) > left and one.head.startswith(rest)), None
        )

    def begun_bytes(self, content: bytes, start: int) -> int:
        """Count the last bytes that may be the beginning of a candidate."""
        most = min(ANCHOR_BYTES - 1, len(content) - start)
        return next((size for size in range(most, 0, -1) if content[len(content) - size :] in self._starts), 0)

    def that_go_on(self, needle: Needle) -> list[bytes]:
        """Return all long needles with the same head."""
        same = self._by_anchor[needle.content[:ANCHOR_BYTES]]
        return [one.content for one in same if len(one.content) > HEAD_BYTES and one.head == needle.head]

    def _of(self, content: bytes, place: int) -> Sequence[Needle]:
        return self._by_anchor[content[place : place + ANCHOR_BYTES]]


class Stream:
    """One stream of bytes; ``found`` names the first needle that stood in it, and is empty if none did."""

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._held = b""
        self._followed: list[bytes] = []
        self._reached = 0
        """How many bytes of each followed needle are swallowed."""
        self.found = ""

    def feed(self, content: bytes) -> bytes:
        """Take a piece; returns what can be said by now."""
        return self._take(content, ended=False)

    def end(self, *, cut: bool) -> bytes:
        """
        Return what was held back.

        ``cut`` says that the stream may have been cut off: then six bytes or more of a needle's beginning count as it.
        """
        begun = self._needles.begun_at(self._held, 0) if cut and len(self._held) >= ANCHOR_BYTES else None
        if begun is None:
            return self._take(b"", ended=True)
        self._held = b""
        return self._mark(begun)

    def _take(self, content: bytes, *, ended: bool) -> bytes:
        content = self._held + content
        self._held = b""
        said: list[bytes] = []
        said_to = look_from = self._swallow(content, 0)
        while (place := self._needles.next_candidate(content, look_from)) is not None:
            if not ended and self._needles.begun_at(content, place) is not None:
                self._held = content[place:]
                return b"".join((*said, content[said_to:place]))
            needle = self._needles.at(content, place)
            if needle is None:
                look_from = place + 1
                continue
            said += [content[said_to:place], self._mark(needle)]
            self._followed, self._reached = self._needles.that_go_on(needle), HEAD_BYTES
            said_to = look_from = self._swallow(content, place + len(needle.head))
        end = len(content) - (0 if ended else self._needles.begun_bytes(content, said_to))
        self._held = content[end:]
        return b"".join((*said, content[said_to:end]))

    def _swallow(self, content: bytes, start: int) -> int:
        """Return where the longest of the followed needles does not go on any more."""
        if not self._followed:
            return start
        sizes = {needle: _common_bytes(needle, self._reached, content, start) for needle in self._followed}
        size = max(sizes.values())
        self._reached += size
        goes_on = start + size == len(content)
        self._followed = [
            needle for needle in self._followed if goes_on and sizes[needle] == size and len(needle) > self._reached
        ]
        return start + size

    def _mark(self, needle: Needle) -> bytes:
        self.found = self.found or needle.name
        return needle.mark


def _common_bytes(needle: bytes, reached: int, content: bytes, start: int) -> int:
    """Count how far the needle, from where it is reached, and the content say the same."""
    size = 0
    while (block := content[start + size : start + size + _BLOCK_BYTES]) and needle.startswith(block, reached + size):
        size += len(block)
    most = min(len(needle) - reached, len(content) - start)
    while size < most and needle[reached + size] == content[start + size]:
        size += 1
    return size


def _any_of(words: Sequence[bytes]) -> bytes:
    """Write an expression for words of one length as a tree, so that few of them are compared at any place."""
    if words == [b""]:
        return b""
    by_first: dict[bytes, list[bytes]] = {}
    for word in words:
        by_first.setdefault(word[:1], []).append(word[1:])
    return b"(?:" + b"|".join(re.escape(first) + _any_of(rest) for first, rest in sorted(by_first.items())) + b")"

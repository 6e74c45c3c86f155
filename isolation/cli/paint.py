"""Colours, for terminals alone. What is painted must be fit to be shown already."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


@dataclass(frozen=True, slots=True)
class Paint:
    """Paints text, or leaves it as it is."""

    on: bool = False

    @classmethod
    def for_stream(cls, stream: TextIO) -> Paint:
        """Paint on a terminal, unless NO_COLOR (no-color.org) or a dumb terminal asks us not to."""
        return cls(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")

    def __call__(self, style: str, text: str) -> str:
        """Paint a text in one of the known styles; an empty one leaves it."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.on and style and text else text

"""The only module that knows rich: draws the board on a terminal, some times a second, and wipes it in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from isolation.cli.board import Piece

_REFRESHES_PER_S = 8.0


class Drawn(Protocol):
    """What is drawn again and again."""

    def lines(self) -> list[list[Piece]]:
        """Write it as it is now, from another thread than the one that changes it."""


def live_view(board: Drawn, console: Console | None = None) -> Live:
    """Make the view of a board on stderr; stopped, it leaves the terminal as it was, for the summary."""
    # Text, never markup: what a recipe says in square brackets means nothing to us.
    return Live(
        get_renderable=lambda: _text(board.lines()),
        console=console or Console(stderr=True, markup=False, highlight=False, emoji=False),
        refresh_per_second=_REFRESHES_PER_S,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _text(lines: list[list[Piece]]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        for style, piece in line:
            text.append(piece, style or None)
    return text

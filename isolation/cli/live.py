"""The only module that knows rich: draws the board on a terminal, some times a second, and wipes it in the end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from isolation.cli.board import Board

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.cli.board import Piece
    from isolation.model.event import Watcher
    from isolation.model.policy import Limits

_REFRESHES_PER_S = 8.0


@contextmanager
def live_progress(limits: Limits | None = None, console: Console | None = None) -> Iterator[Watcher]:
    """Show the run live on stderr; after that the terminal looks as before, for the summary."""
    board = Board(limits)
    # Text, never markup: what a recipe says in square brackets means nothing to us.
    console = console or Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Live(
        get_renderable=lambda: _text(board.lines()),
        console=console,
        refresh_per_second=_REFRESHES_PER_S,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield board


def _text(lines: list[list[Piece]]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        for style, piece in line:
            text.append(piece, style or None)
    return text

"""Makes the folders that are this user's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_private(folder: Path) -> None:
    """
    Make a folder and those above it that are not there, all for this user only.

    ``Path.mkdir`` gives its mode to the last alone. Whoever writes first makes the state folder. Raises OSError.
    """
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(mode=0o700, exist_ok=True)

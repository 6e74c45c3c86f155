"""Makes the folders that are this user's alone, and has what is in them kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_private(folder: Path) -> None:
    """
    Make a folder and those above it that are not there, all for this user only.

    ``Path.mkdir`` gives its mode to the last alone. Whoever writes first makes the state folder. Raises OSError.
    """
    if folder.is_dir():
        return
    make_private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def sync(folder: Path) -> None:
    """Have the names in a folder outlive a power cut, fsync(2). Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

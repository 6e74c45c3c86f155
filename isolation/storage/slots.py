"""What one running cell has mounted at /in: a folder with its snapshot, written by the host alone."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isolation.state.faults import storage_faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE = "snapshot.json"


class Slots:
    """The slots of one state folder, named by cell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def holding(self, cell: str, snapshot: bytes) -> Iterator[Path]:
        """Hold a snapshot for a cell; the container's own uid may read it, and nobody may write it."""
        slot = self._folder / cell
        with storage_faults(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            slot.mkdir()
            (slot / _FILE).write_bytes(snapshot)
            os.chmod(slot / _FILE, 0o444)  # noqa: PTH101 - the mode at creation is subject to the umask
            os.chmod(slot, 0o555)  # noqa: PTH101 - as above
        try:
            yield slot
        finally:
            self.remove(cell)

    def remove(self, cell: str) -> None:
        """Remove a slot; one that is gone is no error."""
        slot = self._folder / cell
        with storage_faults(self._folder):
            if slot.is_dir():
                slot.chmod(0o700)
                shutil.rmtree(slot)

    def names(self) -> tuple[str, ...]:
        """Name the slots that are there, by cell."""
        return tuple(sorted(path.name for path in self._folder.iterdir())) if self._folder.is_dir() else ()

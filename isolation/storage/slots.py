"""What one running cell has mounted at /in: a folder with its snapshot, written by the host alone."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.state.faults import storage_faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE = "snapshot.json"


@dataclass(frozen=True)
class Slot:
    """One slot; empty until its snapshot is put in."""

    path: Path

    def put(self, snapshot: bytes) -> None:
        """Put the snapshot in; the container's own uid may read it, and nobody but us may write it."""
        with storage_faults(self.path.parent):
            file = self.path / _FILE
            file.write_bytes(snapshot)
            file.chmod(0o444)  # the mode at creation is subject to the umask


class Slots:
    """The slots of one state folder, named by cell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def holding(self, cell: str) -> Iterator[Slot]:
        """Hold a slot for a cell."""
        slot = Slot(self._folder / cell)
        with storage_faults(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            slot.path.mkdir()
        try:
            with storage_faults(self._folder):
                slot.path.chmod(0o755)  # the mode at creation is subject to the umask
            yield slot
        finally:
            self.remove(cell)

    def remove(self, cell: str) -> None:
        """Remove a slot; one that is gone is no error."""
        slot = self._folder / cell
        with storage_faults(self._folder):
            if slot.is_dir():
                shutil.rmtree(slot)

    def older_than(self, moment_s: float) -> tuple[str, ...]:
        """Name the slots made before a moment (seconds since 1970), by cell."""
        if not self._folder.is_dir():
            return ()
        return tuple(sorted(path.name for path in self._folder.iterdir() if path.stat().st_mtime < moment_s))

    def names(self) -> tuple[str, ...]:
        """Name all slots, by cell."""
        return self.older_than(float("inf"))

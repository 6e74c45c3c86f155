"""
All that is kept, in one folder.

Below it::

    <state>/isolation.db      the ledger of runs, and the context
    <state>/blobs/            packages' files, manifests, snapshots, policies, artifacts, by digest
    <state>/packages/         packages laid out as containers see them; can be made again from blobs
    <state>/layers/           third-party requirements, one folder a lock
    <state>/runs/             logs
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from isolation.storage.blobs import BlobStore
from isolation.storage.logs import Logs

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from isolation.context.store import ContextStore
    from isolation.state.database import Database
    from isolation.storage.ledger import Ledger


class Stores:
    """The stores of one state folder. The database is opened when it is first needed: that import is slow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self.logs = Logs(folder / "runs")
        self._database: Database | None = None

    @cached_property
    def ledger(self) -> Ledger:
        """The runs."""
        from isolation.storage.ledger import Ledger  # noqa: PLC0415 - slow to import

        return Ledger(self.database)

    @cached_property
    def contexts(self) -> ContextStore:
        """The shared context."""
        from isolation.context.store import ContextStore  # noqa: PLC0415 - slow to import

        return ContextStore(self.database)

    @property
    def database(self) -> Database:
        """The database under both."""
        if self._database is None:
            from isolation.state.database import Database  # noqa: PLC0415 - slow to import

            self._database = Database.open(self.folder)
        return self._database

    @property
    def packages(self) -> Path:
        """Where packages are laid out."""
        return self.folder / "packages"

    @property
    def layers(self) -> Path:
        """Where requirements are installed."""
        return self.folder / "layers"

    def close(self) -> None:
        """Close the database, if it was opened."""
        if self._database is not None:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

"""
All that is kept: in one folder, but for what a database elsewhere may hold.

Below it::

    <state>/isolation.db      the ledger of runs, and the context, unless a database is named by URL
    <state>/blobs/            packages' files, manifests, snapshots, policies, artifacts, by digest
    <state>/packages/         packages laid out as containers see them; can be made again from blobs
    <state>/layers/           third-party requirements, one folder a lock
    <state>/runs/             logs, and the progress of attempts under way
    <state>/uploads/          blobs that were brought over HTTP and are in no package yet, one folder a namespace
    <state>/dumps/            the context written out for people, one folder a namespace
    <state>/bases/            what many snapshots share; can be made again from the context's history
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Self

from isolation.context.bases import Bases
from isolation.settings import DEFAULT_NAMESPACE
from isolation.state.aside import sweep
from isolation.state.faults import storage_faults
from isolation.storage.blobs import BlobStore
from isolation.storage.logs import Logs
from isolation.storage.progress import Progresses

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from isolation.context.dumps import Dumps
    from isolation.context.store import ContextStore
    from isolation.state.database import Database
    from isolation.storage.ledger import Ledger
    from isolation.storage.presence import Presence
    from isolation.storage.queue import Queue
    from isolation.storage.results import Results
    from isolation.storage.uploads import Uploads

_ASIDE = ("blobs/tmp/*", "uploads/*/tmp/*", "dumps/*/.new-*", "packages/.*", "layers/.*")
"""Where something is written under a name of its own."""


class Stores:
    """
    The stores of one state folder, and of one namespace of its ledger and its context.

    The database is opened when it is first needed: that import is slow.
    """

    def __init__(self, folder: Path, url: str | None = None, namespace: str = DEFAULT_NAMESPACE) -> None:
        self.folder = folder
        self.namespace = namespace
        self.blobs = BlobStore(folder / "blobs")
        self.brought = BlobStore(folder / "uploads" / namespace)
        """What was brought over HTTP, and is in no package yet; ``uploads`` says what counts."""
        self.logs = Logs(folder / "runs")
        self.progress = Progresses(folder / "runs")
        self.bases = Bases(folder / "bases")
        self._url = url
        self._lock = threading.RLock()
        self._database: Database | None = None
        self._presence: Presence | None = None

    def within(self, namespace: str) -> Stores:
        """Return the same stores in another namespace, on the same database, which this one closes."""
        if namespace == self.namespace:
            return self
        other = Stores(self.folder, self._url, namespace)
        other._database = self.database
        other._presence = self.presence
        other.bases = self.bases
        return other

    @property
    def presence(self) -> Presence:
        """The presence of this process among those that run runs: one, or that which has the runs would not beat."""
        from isolation.storage.presence import Presence  # noqa: PLC0415 - slow to import

        with self._lock:
            if self._presence is None:
                self._presence = Presence(self.database)
            return self._presence

    @cached_property
    def queue(self) -> Queue:
        """The runs that wait."""
        from isolation.storage.queue import Queue  # noqa: PLC0415 - slow to import

        return Queue(self.database, self.namespace, self.presence)

    @cached_property
    def ledger(self) -> Ledger:
        """The runs."""
        from isolation.storage.ledger import Ledger  # noqa: PLC0415 - slow to import

        return Ledger(self.database, self.namespace, self.presence)

    @cached_property
    def results(self) -> Results:
        """What steps made, for later runs to take."""
        from isolation.storage.results import Results  # noqa: PLC0415 - slow to import

        return Results(self.database, self.namespace)

    @cached_property
    def uploads(self) -> Uploads:
        """What was brought over HTTP."""
        from isolation.storage.uploads import Uploads  # noqa: PLC0415 - slow to import

        return Uploads(self.database, self.namespace)

    @cached_property
    def contexts(self) -> ContextStore:
        """The shared context."""
        from isolation.context.store import ContextStore  # noqa: PLC0415 - slow to import

        return ContextStore(self.database, self.namespace, bases=self.bases)

    @cached_property
    def dumps(self) -> Dumps:
        """The dumps of the shared context."""
        from isolation.context.dumps import Dumps  # noqa: PLC0415 - slow to import

        return Dumps(self.folder / "dumps" / self.namespace, self.database, self.namespace)

    @property
    def database(self) -> Database:
        """The database under both."""
        with self._lock:
            if self._database is None:
                from isolation.state.database import Database  # noqa: PLC0415 - slow to import

                self._database = Database.open(self.folder, self._url)
            return self._database

    @property
    def packages(self) -> Path:
        """Where packages are laid out."""
        return self.folder / "packages"

    @property
    def layers(self) -> Path:
        """Where requirements are installed."""
        return self.folder / "layers"

    def sweep(self) -> int:
        """Remove what killed processes were writing, of every namespace, and tell how many files and folders."""
        with storage_faults(self.folder):
            return sweep(path for pattern in _ASIDE for path in self.folder.glob(pattern))

    def remove_expired(self, at: str, *, dry_run: bool = False) -> tuple[str, ...]:
        """Remove, unless ``dry_run``, what was brought long ago and used for nothing, and name those blobs."""
        from isolation.storage.uploads import expired, forget_expired  # noqa: PLC0415 - slow to import

        found = expired(self.database, at)
        unused = tuple(one for one in found if self.within(one[0]).brought.has(one[1]))
        if found and not dry_run:
            for namespace, digest in unused:
                self.within(namespace).brought.remove(digest)
            forget_expired(self.database, at)
        return tuple(digest for _, digest in unused)

    def close(self) -> None:
        """Close the database, if it was opened."""
        if self._database is not None:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

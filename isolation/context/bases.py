"""
Bases: what the context held for some globs at one version, each in a file that cells look keys up in.

Layout, below the folder it is given::

    <digest>/base/values   one base (``isolation.mapped``), named by its SHA-256; ``base`` is what a cell sees
    scopes/<digest>        for a namespace and its globs: the newest base, and the version it is of
    making-…/              what is being written

A base can be made again at any time from the context's history, so nothing here has to last. Who uses one holds a
shared lock, flock(2), on its folder, where no cell can reach it; what no scope names any more, and nobody holds, goes
when the next one is made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import threading
import weakref
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from isolation.mapped import Mapped, pieces
from isolation.model.package import canonical
from isolation.state.faults import storage_faults
from isolation.state.folders import make_private, sync

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_PART_BYTES = 2**20
_MOST_KEPT = 64


class Held:
    """
    A base that is there and was found whole; it is not removed as long as somebody has this, or its ``values``.

    ``folder`` is what a cell mounts. Its file is read and not mapped: a disk's error is an OSError then, no signal.
    """

    def __init__(self, digest: str, folder: Path, lock: int, file: int) -> None:
        self.digest = digest
        self.folder = folder / "base"
        self.stamp = _stamp(file)
        self.size_bytes = os.fstat(file).st_size
        self.values = Mapped(_Read(file, self.size_bytes))
        weakref.finalize(self.values, _close, lock, file)


class Named(NamedTuple):
    """A base as a scope names it; ``anchor`` tells of which history ``version`` is meant."""

    digest: str
    version: int
    anchor: str


class Bases:
    """The bases of one state folder; any number of threads and processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.making = threading.Lock()
        """Held by who makes one for many threads that may want it."""
        self._lock = threading.Lock()
        self._held: weakref.WeakValueDictionary[str, Held] = weakref.WeakValueDictionary()
        self._newest: OrderedDict[str, Held] = OrderedDict()

    def newest(self, scope: str) -> tuple[Named, Held] | None:
        """Return the newest base of a scope; None if there is none."""
        named = self._named(scope)
        held = self.open(named.digest) if named else None
        if named is None or held is None:
            return None
        self._keep(scope, held)
        return named, held

    def _named(self, scope: str) -> Named | None:
        """Read what names the base of a scope; None also where that was cut off."""
        with suppress(OSError, ValueError, TypeError):
            return Named(**json.loads((self.folder / "scopes" / scope).read_bytes()))
        return None

    def name(self, scope: str, named: Named, held: Held) -> None:
        """Make a base the newest of a scope. Raises StorageError."""
        file = self.folder / "scopes" / scope
        building = file.with_name(f"{scope}.{secrets.token_hex(8)}")
        with storage_faults(self.folder):
            make_private(file.parent)
            building.write_bytes(canonical(named._asdict()))
            building.rename(file)
        self._keep(scope, held)

    def open(self, digest: str) -> Held | None:
        """
        Return a base; None if it is not there, or no longer what was made.

        It is read once by each process, to see that it is whole; after that, its size and its times tell.
        """
        with self._lock, storage_faults(self.folder):
            held = self._held.get(digest)
            if held is None or held.stamp != _stamp(held.folder / "values"):
                held = self._check(digest)
            if held is not None:
                self._held[digest] = held
            return held

    def make(self, items: Iterable[tuple[str, bytes]]) -> Held:
        """Make a base of keys with the JSON of their values, sorted by key. Raises StorageError."""
        building = self.folder / f"making-{secrets.token_hex(8)}"
        with storage_faults(self.folder):
            make_private(self.folder)
            building.mkdir(mode=0o700)
            lock = _locked(building, fcntl.LOCK_SH)  # goes along when it is renamed
            try:
                digest = _write(building / "base", items)
                self._publish(building, digest)
                held = self.open(digest)
            finally:
                if lock is not None:
                    os.close(lock)
                shutil.rmtree(building, ignore_errors=True)
            if held is None:
                raise OSError(0, f"the base {digest} is not what was just written")
        return held

    def sweep(self) -> None:
        """Remove what no scope names and nobody holds. Raises StorageError."""
        with storage_faults(self.folder):
            named = {found.digest for file in (self.folder / "scopes").glob("*") if (found := self._named(file.name))}
            for folder in [*self.folder.iterdir()]:
                if folder.name not in {"scopes", *named}:
                    _remove(folder)

    def _keep(self, scope: str, held: Held) -> None:
        """Hold the base of a scope for its next run, which would read all of it again to see that it is whole."""
        with self._lock:
            self._newest[scope] = held
            self._newest.move_to_end(scope)
            if len(self._newest) > _MOST_KEPT:
                self._newest.popitem(last=False)

    def _check(self, digest: str) -> Held | None:
        folder = self.folder / digest
        lock = _locked(folder, fcntl.LOCK_SH)
        if lock is None:
            return None
        try:
            file = os.open(folder / "base" / "values", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            os.close(lock)
            return None
        try:
            with os.fdopen(os.dup(file), "rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() == digest:
                    return Held(digest, folder, lock, file)
        except BaseException:
            _close(lock, file)
            raise
        _close(lock, file)
        return None

    def _publish(self, building: Path, digest: str) -> None:
        target = self.folder / digest
        if target.is_dir() and self.open(digest) is None:  # damaged: out of the way, whoever still looks at it
            target.rename(self.folder / f"making-{secrets.token_hex(8)}")
        with suppress(OSError):  # somebody was faster, and made the same
            building.rename(target)
        sync(self.folder)


class _Read:
    """A file's bytes, read where they are asked for."""

    def __init__(self, file: int, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def __len__(self) -> int:
        return self._size_bytes

    def __getitem__(self, part: slice, /) -> bytes:
        return os.pread(self._file, part.stop - part.start, part.start)


def _write(folder: Path, items: Iterable[tuple[str, bytes]]) -> str:
    """Write the file, to stay there through a power cut, for any uid to read; returns its digest."""
    digest = hashlib.sha256()
    folder.mkdir()
    with (folder / "values").open("xb") as file:
        for part in _joined(pieces(items)):
            digest.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o444)
    folder.chmod(0o755)  # the mode at creation is subject to the umask
    sync(folder)
    return digest.hexdigest()


def _joined(parts: Iterable[bytes]) -> Iterator[bytearray]:
    """Put small parts together: there are hundreds of thousands."""
    large = bytearray()
    for part in parts:
        large += part
        if len(large) >= _PART_BYTES:
            yield large
            large = bytearray()
    yield large


def _locked(folder: Path, how: int) -> int | None:
    """Lock a folder as long as the descriptor is open; None if it is not there, or another's lock is in the way."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with suppress(OSError):
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        if folder.stat().st_ino == os.fstat(lock).st_ino:  # else it was removed before we had the lock
            return lock
    os.close(lock)
    return None


def _remove(folder: Path) -> None:
    lock = _locked(folder, fcntl.LOCK_EX)
    if lock is None:
        return
    try:
        going = folder.with_name(f"making-{secrets.token_hex(8)}")
        folder.rename(going)
        shutil.rmtree(going, ignore_errors=True)
    finally:
        os.close(lock)


def _stamp(file: int | Path) -> tuple[int, ...]:
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except FileNotFoundError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

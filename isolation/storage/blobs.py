"""
Bytes by the digest of their content: packages, snapshots, policies, logs, artifacts.

Layout, below the folder it is given::

    ab/cdef…       a blob, named by its SHA-256; written once, never changed
    tmp/           what is being written; left behind only by a killed process
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from isolation.errors import StorageError
from isolation.state.aside import new_file
from isolation.state.faults import storage_faults
from isolation.state.folders import make_private, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FOLDER = re.compile(r"[0-9a-f]{2}", re.ASCII)
_REST = re.compile(r"[0-9a-f]{62}", re.ASCII)


class BlobWriter:
    """One blob on its way in. Nothing of it can be seen before ``finish``."""

    def __init__(self, store: BlobStore, descriptor: int, temporary: Path) -> None:
        self._store = store
        self._descriptor = descriptor
        self._temporary = temporary
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self.digest: str | None = None

    @property
    def written(self) -> str:
        """Tell the digest of what was written so far."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        with storage_faults(self._store.folder):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def finish(self) -> str:
        """Put the blob into the store, to stay there through a power cut, and return its digest."""
        digest = self._hash.hexdigest()
        with storage_faults(self._store.folder):
            os.fsync(self._descriptor)
            self._store._adopt(self._temporary, digest)  # noqa: SLF001  (the two are one thing in two classes)
        self.digest = digest
        return digest


class BlobStore:
    """A folder of blobs; any number of threads and processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep content and return its digest; after that it is there even if the power fails. Quick if present."""
        digest = hashlib.sha256(content).hexdigest()
        if self._size(digest) == len(content):
            return digest
        with self.writer() as writer:
            writer.write(content)
            return writer.finish()

    def get(self, digest: str) -> bytes:
        """Return the content; StorageError if it is not there, or is no longer what was put."""
        with storage_faults(self.folder):
            try:
                content = self.path(digest).read_bytes()
            except FileNotFoundError:
                raise StorageError(
                    f"the blob {digest} is not in {self.folder}",
                    hint="It was removed by `isolation clean` or by hand; what needs it cannot be run again.",
                ) from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise StorageError(
                f"the blob {digest} in {self.folder} is damaged",
                hint="Put back a copy of it, or remove the file and run the recipe anew.",
            )
        return content

    def has(self, digest: str) -> bool:
        """Tell whether the blob is there, without reading it."""
        return self._size(digest) is not None

    def path(self, digest: str) -> Path:
        """Tell the file that holds the blob, whether it is there or not."""
        if not _DIGEST.fullmatch(digest):
            raise StorageError(f"{digest!r} is not the name of a blob", hint="A name has 64 hexadecimal digits.")
        return self.folder / digest[:2] / digest[2:]

    def digests(self) -> Iterator[str]:
        """Name every blob, in no order."""
        with storage_faults(self.folder):
            for folder in self.folder.glob("??"):
                if _FOLDER.fullmatch(folder.name):
                    yield from (folder.name + file.name for file in folder.iterdir() if _REST.fullmatch(file.name))

    def take_over(self, digest: str, other: BlobStore) -> None:
        """Move the blob here from another store of the same disk, to stay there; nothing happens where it is not."""
        with storage_faults(self.folder):
            make_private(self.folder)
            with suppress(FileNotFoundError):
                self._adopt(other.path(digest), digest)

    def remove(self, digest: str) -> None:
        """Remove the blob if it is there."""
        with storage_faults(self.folder):
            self.path(digest).unlink(missing_ok=True)

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Write a blob in chunks; what was not finished at the end of the block is discarded."""
        with storage_faults(self.folder):
            descriptor, temporary = new_file(self.folder / "tmp", "")
        writer = BlobWriter(self, descriptor, temporary)
        try:
            yield writer
        finally:
            with storage_faults(self.folder):
                os.close(descriptor)
                if writer.digest is None:
                    temporary.unlink(missing_ok=True)

    def _size(self, digest: str) -> int | None:
        with storage_faults(self.folder):
            try:
                return self.path(digest).stat().st_size
            except FileNotFoundError:
                return None

    def _adopt(self, temporary: Path, digest: str) -> None:
        path = self.path(digest)
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync(self.folder)
        temporary.rename(path)
        sync(path.parent)

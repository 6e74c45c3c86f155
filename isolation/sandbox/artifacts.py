"""Files from a container on their way into the blob store: named, counted and bounded here, whatever the runner did."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from isolation.contract import Malformed, check_artifact_name
from isolation.model.run import Artifact
from isolation.rules.redaction import NOTHING, Redaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from isolation.rules.redaction import Redacting


class LimitReachedError(Exception):
    """The recipe left more files, or larger ones, than its policy allows."""


class Writer(Protocol):
    """A blob on its way in."""

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""

    def finish(self) -> str:
        """Keep it; returns its digest."""


class Blobs(Protocol):
    """Where artifacts are kept."""

    def writer(self) -> AbstractContextManager[Writer]:
        """Begin a blob, discarded unless it is finished."""


class ArtifactIntake:
    """
    Takes files one after another. ``close`` discards one that is not whole.

    A file with a secret in its name or its content is not kept, and ``warn`` is told; no secret is written on the way.
    """

    def __init__(
        self,
        blobs: Blobs,
        *,
        most_files: int,
        most_bytes: int,
        redaction: Redaction = NOTHING,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._blobs = blobs
        self._most_files = most_files
        self._most_bytes = most_bytes
        self._left = 0
        self._taken_bytes = 0
        self._redaction = redaction
        self._warn = warn or (lambda _: None)
        self._open = contextlib.ExitStack()
        self._current: _Incoming | None = None
        self._names: set[str] = set()
        self._kept: dict[str, Artifact] = {}

    @property
    def kept(self) -> tuple[Artifact, ...]:
        """Return the files that arrived whole, by name."""
        return tuple(self._kept[name] for name in sorted(self._kept))

    def begin(self, name: str, size_bytes: int) -> None:
        """Begin a file. Raises Malformed for a name that may not be, LimitReachedError for too much."""
        self.check_whole()
        try:
            check_artifact_name(name)
        except Malformed as error:
            raise Malformed(f"the artifact {name[:200]!r}: {error}") from error
        if name in self._names:
            raise Malformed(f"two artifacts of the name {name!r}")
        self._taken_bytes += size_bytes
        if len(self._names) >= self._most_files or self._taken_bytes > self._most_bytes:
            raise LimitReachedError
        self._names.add(name)
        writer = self._open.enter_context(self._blobs.writer())
        self._current = _Incoming(name, size_bytes, writer, self._redaction.stream(), self._redaction.find(name))
        self._left = size_bytes
        self._finish_if_whole()

    def add(self, chunk: bytes) -> None:
        """Add a chunk to the file that was begun."""
        if self._current is None or not 0 < len(chunk) <= self._left:
            raise Malformed("bytes of no artifact")
        self._current.take(chunk)
        self._left -= len(chunk)
        self._finish_if_whole()

    def check_whole(self) -> None:
        """Raise Malformed if a file was begun and its last chunk has not come."""
        if self._current is not None:
            raise Malformed(f"the artifact {self._current.name!r} was cut off")

    def close(self) -> None:
        """Discard what is not whole."""
        self._open.close()

    def _finish_if_whole(self) -> None:
        if self._left == 0 and self._current is not None:
            file, self._current = self._current, None
            digest = file.finish()
            if digest:
                self._kept[file.name] = Artifact(name=file.name, digest=digest, size_bytes=file.size_bytes)
            else:
                shown = self._redaction.text(file.name)
                self._warn(f"the artifact {shown!r} was not kept: the secret {file.secret} stands in it")
            self._open.close()


class _Incoming:
    """A file on its way in; ``secret`` names the one that was found in it."""

    def __init__(self, name: str, size_bytes: int, writer: Writer, content: Redacting, secret: str) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.secret = secret
        self._writer = writer
        self._content = content

    def take(self, chunk: bytes) -> None:
        self._write(self._content.feed(chunk))

    def finish(self) -> str:
        """Return its digest; empty if it is not to be kept."""
        self._write(self._content.end(cut=False))
        return "" if self.secret else self._writer.finish()

    def _write(self, content: bytes) -> None:
        self.secret = self.secret or self._content.found
        if content and not self.secret:
            self._writer.write(content)

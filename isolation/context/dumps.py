"""
Dumps: a namespace's context written out for people, each at one version, into a folder of its own.

Layout, below the folder it is given::

    daily_backup.csv    a dump, NAME.FORMAT; another of the same name takes its place whole
    .new-…              one that is being written; left behind only by a killed process
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, TextIO

from isolation.clock import timestamp
from isolation.context import dumping, entries
from isolation.context.dumping import Content, Format
from isolation.context.entries import Space
from isolation.errors import ContextError, NoSuchDumpError
from isolation.state.aside import new_file
from isolation.state.faults import storage_faults
from isolation.state.folders import sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from isolation.model.changes import Entry
    from isolation.state.database import Database

MOST_DUMPS = 1_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
_BUFFER_BYTES = 2**18


@dataclass(frozen=True, kw_only=True, slots=True)
class DumpFile:
    """A dump that is there; ``timestamp`` is when it was written, RFC 3339 in UTC."""

    filename: str
    file_size: int
    format: Format
    timestamp: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dump:
    """A dump just written: ``keys`` keys, as the context was at ``version``; ``file_size`` is in bytes."""

    filename: str
    file_size: int
    format: Format
    include_history: bool
    who: str
    timestamp: str
    version: int
    keys: int


class Dumps:
    """The dumps of one namespace. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, database: Database, namespace: str) -> None:
        self.folder = folder
        self._database = database
        self._namespace = namespace

    def write(self, form: Format, name: str | None, *, include_history: bool, who: str, at: str) -> Dump:
        """
        Write the context as it is now; the dump is whole and there to stay when this returns.

        ``name`` may end in the format or not; None: one is made of the moment. Raises ContextError for a name that
        cannot be, or where there are too many dumps; StorageError.
        """
        filename = filename_of(name or f"context-{re.sub(r'[-:.]', '', at)}", form)
        with storage_faults(self.folder):
            self._check_room(filename)
            descriptor, aside = new_file(self.folder, ".new-")
            with os.fdopen(descriptor, "w", _BUFFER_BYTES, encoding="utf-8", newline="") as file:
                try:
                    version, keys = self._write_all(file, form, include_history=include_history, who=who, at=at)
                    file.flush()
                    os.fsync(file.fileno())
                    size = file.tell()
                    aside.replace(self.folder / filename)
                except BaseException:
                    aside.unlink(missing_ok=True)
                    raise
            sync(self.folder)
        return Dump(
            filename=filename,
            file_size=size,
            format=form,
            include_history=include_history,
            who=who,
            timestamp=at,
            version=version,
            keys=keys,
        )

    def list(self) -> tuple[DumpFile, ...]:
        """Return the dumps that there are, the newest first."""
        found: list[tuple[int, DumpFile]] = []
        for filename in self._filenames():
            with suppress(FileNotFoundError):  # deleted since
                about = (self.folder / filename).stat()
                written = timestamp(datetime.fromtimestamp(about.st_mtime, UTC))
                form = Format(filename.rpartition(".")[2])
                one = DumpFile(filename=filename, file_size=about.st_size, format=form, timestamp=written)
                found.append((about.st_mtime_ns, one))
        return tuple(one for _, one in sorted(found, key=lambda pair: (-pair[0], pair[1].filename)))

    def open(self, filename: str) -> BinaryIO:
        """Open a dump, to be read as it is now, whatever takes its place; NoSuchDumpError if there is none."""
        path = self._path(filename)
        try:
            with storage_faults(self.folder):
                return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        except Exception as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise NoSuchDumpError(filename) from error
            raise

    def delete(self, filename: str) -> None:
        """Delete a dump; NoSuchDumpError if there is none."""
        path = self._path(filename)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise NoSuchDumpError(filename) from error

    def _path(self, filename: str) -> Path:
        if not _is_filename(filename):
            raise NoSuchDumpError(filename)
        return self.folder / filename

    def _filenames(self) -> Sequence[str]:
        with storage_faults(self.folder):
            return (
                [path.name for path in self.folder.iterdir() if _is_filename(path.name)] if self.folder.is_dir() else []
            )

    def _check_room(self, filename: str) -> None:
        there = self._filenames()
        if filename not in there and len(there) >= MOST_DUMPS:
            raise ContextError(
                f"there are {len(there)} dumps of the namespace {self._namespace!r} already",
                hint="Delete some, or write over one by giving its name.",
            )

    def _write_all(self, file: TextIO, form: Format, *, include_history: bool, who: str, at: str) -> tuple[int, int]:
        keys = 0

        def counted(found: Iterator[Entry]) -> Iterator[Entry]:
            nonlocal keys
            for entry in found:
                keys += 1
                yield entry

        with self._database.reading() as connection:
            space = Space(connection, self._namespace)
            content = Content(
                namespace=self._namespace,
                version=entries.newest_version(space),
                who=who,
                at=at,
                held=counted(entries.held(space)),
                written=entries.written(space) if include_history else None,
            )
            file.writelines(dumping.lines(form, content))
        return content.version, keys


def filename_of(name: str, form: Format) -> str:
    """
    Return the file's name of a dump; ContextError for one that cannot be.

    >>> filename_of("daily_backup", Format.CSV), filename_of("daily_backup.csv", Format.CSV)
    ('daily_backup.csv', 'daily_backup.csv')
    """
    bare = name.removesuffix(f".{form}")
    if not _NAME.fullmatch(bare):
        raise ContextError(
            f"a dump cannot be named {name[:100]!a}",
            hint="Use letters, digits, dots, dashes and underscores, 100 at most, and begin with none of . and -.",
        )
    return f"{bare}.{form}"


def _is_filename(name: str) -> bool:
    bare, _, form = name.rpartition(".")
    return form in [*Format] and _NAME.fullmatch(bare) is not None

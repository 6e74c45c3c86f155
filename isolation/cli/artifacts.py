"""
Copies artifacts to a folder of a person's choice.

Their names come from a recipe, and others may write to the folder: every part of a path is opened below the one before
it, without following links, and no file is ever replaced.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from isolation.model.run import Artifact
    from isolation.storage.blobs import BlobStore

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class ArtifactFolder:
    """A folder that exists and can be written."""

    path: Path

    @classmethod
    def prepare(cls, path: Path) -> ArtifactFolder:
        """Make sure of the folder, before anything runs; InputError if it cannot be had."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"artifacts cannot go to {path}: {_why(error)}",
                hint="Name a folder that this user may write with --artifacts.",
            ) from error
        if not os.access(path, os.W_OK | os.X_OK):
            raise InputError(
                f"artifacts cannot go to {path}: it may not be written",
                hint="Name a folder that this user may write with --artifacts.",
            )
        return cls(path)

    def place(self, artifact: Artifact) -> Path:
        """Tell where an artifact goes."""
        return self.path.joinpath(*_parts(artifact.name))

    def copy(self, artifacts: Iterable[Artifact], blobs: BlobStore) -> StorageError | None:
        """
        Copy all that can be copied; the error to raise in the end tells what could not.

        A file of the same name stays; it is in order if it has the same content.
        """
        problems = []
        for artifact in artifacts:
            content = blobs.get(artifact.digest)
            try:
                self._write(_parts(artifact.name), content)
            except OSError as error:
                problems.append(f"{artifact.name}: {_why(error)}")
        if not problems:
            return None
        return StorageError(
            f"artifacts were not copied to {self.path}: {'; '.join(problems)}",
            hint="Nothing there was changed. The run is recorded; its artifacts stay in the state folder.",
        )

    def _write(self, parts: tuple[str, ...], content: bytes) -> None:
        folder = os.open(self.path, _FOLDER & ~os.O_NOFOLLOW)
        try:
            for part in parts[:-1]:
                folder = _enter(folder, part)
            _create(folder, parts[-1], content)
        finally:
            os.close(folder)


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise StorageError(f"the artifact name {name!r} leads out of its folder", hint="Nothing was copied.")
    return parts


def _enter(folder: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, mode=0o700, dir_fd=folder)
    inner = os.open(name, _FOLDER, dir_fd=folder)
    os.close(folder)
    return inner


def _create(folder: int, name: str, content: bytes) -> None:
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(content)
    except FileExistsError:
        if not _holds(folder, name, content):
            raise


def _holds(folder: int, name: str, content: bytes) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        return os.fstat(file.fileno()).st_size == len(content) and file.read() == content


def _why(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return "a file of that name is there already"
    return (error.strerror or str(error)).lower()

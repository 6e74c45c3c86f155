"""
From a package to files on disk, and from its manifest back to a package.

Layout: ``<folder>/<package digest>/`` holds the files under their paths, read-only for everyone. A tree is there
whole or not at all: it is made under a name of its own and renamed.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from isolation.errors import StorageError
from isolation.model.package import Package, PackedFile
from isolation.model.recipe import Recipe
from isolation.state.aside import discard, new_folder

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER_MODE = 0o555
_LONGEST_NAME = 255
_LONGEST_PATH = 4096
_RUN_ANEW = "Run the recipe anew, from its folder."


class Blobs(Protocol):
    """Where content is kept by its digest."""

    def get(self, digest: str) -> bytes:
        """Return the content of this digest, checked."""


def materialise(package: Package, folder: Path, blobs: Blobs) -> Path:
    """Lay a package's files out below ``folder``, for any uid to read; quick if they are there already."""
    for file in package.files:
        _check(file.path)
    tree = folder / package.digest
    if tree.is_dir():
        if _is_whole(tree, package):
            return tree
        discard(tree)
    try:
        with new_folder(folder, f".{package.digest[:16]}-") as building:
            for file in package.files:
                _write(building / file.path, blobs.get(file.digest))
            make_read_only(building)
            publish(building, tree)
    except OSError as error:
        raise StorageError(
            f"the package cannot be laid out at {folder}: {error.strerror or error}",
            hint="Free some space, or check the folder's permissions.",
        ) from error
    return tree


def _is_whole(tree: Path, package: Package) -> bool:
    """Tell whether all files have their size: after a power cut, a file may have kept its name and lost its content."""
    try:
        return all((tree / file.path).stat().st_size == file.size_bytes for file in package.files)
    except OSError:
        return False


def make_read_only(tree: Path) -> None:
    """Let everybody read a tree, and nobody write it."""
    for parent, folders, names in os.walk(tree, topdown=False):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - tens of thousands of files in a layer
            if not os.path.islink(path):  # noqa: PTH114 - as above
                os.chmod(path, 0o444)  # noqa: PTH101 - as above
        for name in folders:
            path = os.path.join(parent, name)  # noqa: PTH118 - as above
            if not os.path.islink(path):  # noqa: PTH114 - as above
                os.chmod(path, _FOLDER_MODE)  # noqa: PTH101 - as above
    # The top keeps its owner's right to write: a folder without it cannot be renamed on every file system.
    tree.chmod(0o700)


def publish(building: Path, tree: Path) -> None:
    """Give a finished tree its name; if somebody else was faster, theirs stays."""
    try:
        building.rename(tree)
    except OSError:
        if not tree.is_dir():
            raise
        return
    tree.chmod(_FOLDER_MODE)


def read_manifest(content: bytes) -> Package:
    """
    Read a package's manifest, as it was recorded.

    Raises StorageError for whatever is not, byte for byte, what this version writes: its digest is the package's.
    """
    try:
        data: dict[str, Any] = json.loads(content)
        package = Package(
            recipe=Recipe.model_validate(data["recipe"]),
            files=tuple(PackedFile(**file) for file in data["files"]),
            lock=data["lock"],
            optional_imports=tuple(data["optional_imports"]),
        )
        for file in package.files:
            _check(file.path)
        same = package.manifest() == content
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        raise StorageError("a package's manifest cannot be read", hint=_RUN_ANEW) from error
    if not same:
        raise StorageError("a package's manifest is damaged, or was written by another version", hint=_RUN_ANEW)
    return package


def _check(path: str) -> None:
    """Refuse a path that would lead anywhere but below the tree, whoever wrote it."""
    parts = path.split("/")
    if len(path) > _LONGEST_PATH or not all(
        part and part not in {".", ".."} and "\0" not in part and len(os.fsencode(part)) <= _LONGEST_NAME
        for part in parts
    ):
        raise StorageError(f"{path[:60]!r} is not a path that a package may have", hint=_RUN_ANEW)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)

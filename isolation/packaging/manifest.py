"""
Checks a package that somebody else has made, before any of it is believed.

A manifest says what a recipe and ``pack`` would have said: all that they refuse is refused here, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.errors import PackageError, RecipeError, StorageError
from isolation.model.package import digest_of, is_digest
from isolation.packaging.load import recipe_of
from isolation.packaging.pack import LARGEST_FILE_BYTES, LARGEST_PACKAGE_BYTES, MOST_FILES
from isolation.packaging.requirements import check_lock
from isolation.packaging.text import Document
from isolation.packaging.tree import read_manifest
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation.model.package import Package, PackedFile
    from isolation.model.recipe import Recipe

LARGEST_MANIFEST_BYTES = 8 * 2**20
_HEAD = ("name", "version", "description", "author", "tags", "requirements")
_MAKE_IT = "`isolation package RECIPE -o FILE` writes one."


def package_of(manifest: bytes, digest: str) -> Package:
    """
    Read a package's manifest that came from elsewhere, under the digest that it is said to have.

    Raises PackageError for one that is not, byte for byte, what we would write of a recipe that we would take.
    """
    if len(manifest) > LARGEST_MANIFEST_BYTES:
        raise PackageError(f"a manifest is no larger than {format_bytes(LARGEST_MANIFEST_BYTES)}", hint=_MAKE_IT)
    if digest_of(manifest) != digest:
        raise PackageError("the manifest has another digest than it is said to have", hint="Send it byte for byte.")
    try:
        package = read_manifest(manifest)
    except StorageError as error:
        raise PackageError(error.sentence, hint=_MAKE_IT) from error
    if not all(isinstance(text, str) for text in (package.lock, *package.optional_imports)):
        raise PackageError("a manifest's lock and imports are texts", hint=_MAKE_IT)
    _check_files(package.files)
    _check_recipe(package.recipe)
    check_lock(package.lock)
    if bool(package.lock) != bool(package.recipe.requirements):
        raise PackageError("requirements are there without their lock, or the other way round", hint=_MAKE_IT)
    return package


def _check_recipe(recipe: Recipe) -> None:
    """Have it checked as a file that says the same."""
    written = recipe.model_dump(mode="json", by_alias=True)
    del written["environment"]
    head = {key: written.pop(key) for key in _HEAD}
    try:
        recipe_of(Document(value={"metadata": head, **written}, lines={}, written={}), "", "")
    except RecipeError as error:
        raise PackageError(error.sentence, hint=error.hint) from error


def _check_files(files: Sequence[PackedFile]) -> None:
    for file in files:
        size_bytes: object = file.size_bytes  # nobody has checked of what kind these two are
        digest: object = file.digest
        if type(size_bytes) is not int or not 0 <= size_bytes <= LARGEST_FILE_BYTES:
            raise PackageError(f"{file.path!r} has a size that a file cannot have", hint=_MAKE_IT)
        if not isinstance(digest, str) or not is_digest(digest):
            raise PackageError(f"{file.path!r} has a digest that is none", hint=_MAKE_IT)
    paths = [file.path for file in files]
    folders = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
    if paths != sorted({*paths}) or folders & {*paths}:
        raise PackageError("the files of a package are sorted, and each is there once", hint=_MAKE_IT)
    if len(files) > MOST_FILES or sum(file.size_bytes for file in files) > LARGEST_PACKAGE_BYTES:
        most = format_bytes(LARGEST_PACKAGE_BYTES)
        raise PackageError(f"a package has at most {MOST_FILES} files, of {most} together", hint="Take in less.")

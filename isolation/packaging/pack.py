"""From a loaded recipe to a package: all that it needs, found before anything runs, kept by content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from isolation.errors import PackageError
from isolation.model.package import Package, PackedFile
from isolation.packaging.data import data_files
from isolation.packaging.files import read_regular
from isolation.packaging.modules import Modules
from isolation.packaging.requirements import LOCK_NAME, recorded_lock
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isolation.model.recipe import Recipe, Step
    from isolation.packaging.load import LoadedRecipe
    from isolation.packaging.requirements import Layers

LARGEST_FILE_BYTES = 64 * 2**20
LARGEST_PACKAGE_BYTES = 256 * 2**20
MOST_FILES = 10_000


class Blobs(Protocol):
    """Where content is kept by its digest."""

    def put(self, content: bytes) -> str:
        """Keep content; returns its SHA-256, in hexadecimal."""


class _Bundle:
    """The files of a package, each under the first content that was given for it."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._size_bytes = 0
        self.files: dict[str, PackedFile] = {}

    def add(self, path: str, content: bytes) -> None:
        if path in self.files:
            return
        try:
            path.encode()
        except UnicodeEncodeError as cause:
            raise PackageError(f"the file name {path!r} is not UTF-8", hint="Rename it.") from cause
        self._size_bytes += len(content)
        if self._size_bytes > LARGEST_PACKAGE_BYTES:
            limit = format_bytes(LARGEST_PACKAGE_BYTES)
            raise PackageError(
                f"with {path}, the recipe's files are larger than {limit} together",
                hint="Take in less under files, or make them smaller.",
            )
        if len(self.files) == MOST_FILES:
            raise PackageError(
                f"the recipe needs more than {MOST_FILES} files", hint="Pack what belongs together into one file."
            )
        self.files[path] = PackedFile(path=path, digest=self._blobs.put(content), size_bytes=len(content))


def pack(
    loaded: LoadedRecipe,
    *,
    paths: Sequence[Path] = (),
    blobs: Blobs,
    layers: Layers | None = None,
    recipe: Recipe | None = None,
    relock: bool = False,
) -> Package:
    """
    Collect the recipe's own file, its steps' modules with all that they import, and its data files.

    ``paths`` are further folders to look for modules in; ``recipe`` stands for the loaded one, as ``rules.select``
    left it. ``relock`` resolves its requirements anew, whatever its recipe.lock says. Disabled steps
    need nothing. The same content gives the same package on any machine. Raises PackageError for whatever is missing.
    """
    chosen = recipe or loaded.recipe
    lock, layer_modules = _requirements(chosen, loaded, layers, relock=relock)
    bundle = _Bundle(blobs)
    bundle.add(loaded.path.name, loaded.text)

    def place(step: Step, key: str) -> tuple[Path, int]:
        return loaded.path, loaded.step_line(step.name, key)

    modules = Modules([loaded.folder, *map(existing, paths)], layer_modules, bundle.add, place)
    optional_imports = modules.collect(step for step in chosen.steps if step.enabled)
    for path in data_files(chosen, loaded):
        if path not in bundle.files:
            bundle.add(path, read_regular(loaded.folder / path, LARGEST_FILE_BYTES, PackageError))
    return Package(
        recipe=chosen,
        files=tuple(bundle.files[path] for path in sorted(bundle.files)),
        lock=lock,
        optional_imports=optional_imports,
    )


def _requirements(
    recipe: Recipe, loaded: LoadedRecipe, layers: Layers | None, *, relock: bool
) -> tuple[str, frozenset[str]]:
    if not recipe.requirements:
        return "", frozenset()
    if layers is None:
        raise PackageError(
            "the recipe has requirements, and there is no place to install them", hint="Pack it with a state folder."
        )
    try:
        if relock:
            lock = layers.resolve(recipe.requirements)
        else:
            lock = layers.lock(recipe.requirements, recorded_lock(loaded.folder), loaded.path.with_name(LOCK_NAME))
        return lock, layers.modules(layers.build(lock))
    except PackageError as error:
        if error.path:
            raise
        line = loaded.requirements_line()
        raise PackageError(error.sentence, hint=error.hint, path=loaded.path, line=line) from error


def existing(path: Path) -> Path:
    """Resolve a folder to look for modules in. Raises PackageError where there is none."""
    if not path.is_dir():
        raise PackageError(
            "there is no such folder to look for modules in",
            hint="--path, or `paths` in the settings, names it.",
            path=path,
        )
    return path.resolve()

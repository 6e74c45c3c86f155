"""Which data files a recipe needs: those that its ``files`` globs match, and those that its steps' ``args`` name."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from isolation.errors import PackageError, did_you_mean
from isolation.packaging.files import is_regular_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from isolation.model.recipe import Recipe
    from isolation.packaging.load import LoadedRecipe

_LONGEST_PATH = 1024
_MOST_ENTRIES = 100_000
_MAGIC = frozenset("*?[")


def data_files(recipe: Recipe, loaded: LoadedRecipe) -> tuple[str, ...]:
    """
    Find the data files of a recipe, as paths relative to the folder that it was loaded from.

    ``*`` and ``?`` stay within a name and do not match a leading dot, ``**`` spans folders. Raises PackageError for
    a glob that matches nothing or leads out of the folder: a file that is left out is a run that fails later.
    """
    found: dict[str, None] = {}
    below: list[str] | None = None
    folder = loaded.folder
    for index, glob in enumerate(recipe.files):
        line = loaded.document.line(("files", index))
        parts = _parts(glob, loaded.path, line)
        if _MAGIC.isdisjoint(glob):
            matched = ["/".join(parts)] if is_regular_below(folder, "/".join(parts), PackageError) else []
        else:
            below = _walk(folder) if below is None else below
            matched = [
                path
                for path in below
                if _matches(path.split("/"), parts) and is_regular_below(folder, path, PackageError)
            ]
        if not matched:
            raise _unmatched(glob, folder, loaded.path, line)
        found.update(dict.fromkeys(matched))
    for step in recipe.steps:
        if step.enabled:
            found.update(dict.fromkeys(_named(step.args, folder)))
    return tuple(found)


def _parts(glob: str, recipe: Path, line: int) -> list[str]:
    path = PurePosixPath(glob)
    if not glob or len(glob) > _LONGEST_PATH or "\0" in glob or path.is_absolute() or ".." in path.parts:
        raise PackageError(
            f"{glob[:60]!r} under files is not a path below the recipe's folder",
            hint="Copy what is needed into the folder, and name it by its path from there.",
            path=recipe,
            line=line,
        )
    return list(path.parts)


def _walk(folder: Path) -> list[str]:
    """List all files below a folder; links to folders are not followed."""
    paths: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        base = os.path.relpath(parent, folder)
        paths += [name if base == "." else f"{base}/{name}" for name in sorted(names)]
        if len(paths) > _MOST_ENTRIES:
            raise PackageError(
                f"the recipe's folder holds more than {_MOST_ENTRIES} files",
                hint="Give the recipe a folder of its own.",
                path=folder,
            )
    return paths


def _matches(path: list[str], glob: list[str]) -> bool:
    """
    Match part by part, in time that grows with the product of both lengths, whatever the glob.

    >>> _matches(["data", "a", "b.csv"], ["data", "**", "*.csv"]), _matches([".git", "x"], ["**"])
    (True, False)
    """
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only globs pay for it

    reached = {0}  # how many parts of the glob are used up
    for name in path:
        hidden = name.startswith(".")
        reached |= {at + 1 for at in reached if glob[at : at + 1] == ["**"]}
        following: set[int] = set()
        for at in reached:
            if at == len(glob):
                continue
            if glob[at] == "**":
                following |= set() if hidden else {at}
            elif (not hidden or glob[at].startswith(".")) and fnmatchcase(name, glob[at]):
                following.add(at + 1)
        reached = following
    return len(glob) in reached or (len(glob) - 1 in reached and glob[-1] == "**")


def _unmatched(glob: str, folder: Path, recipe: Path, line: int) -> PackageError:
    path = folder / glob
    if path.is_dir():
        hint = f"It is a folder: write {glob.rstrip('/')}/** for all files in it."
    else:
        hint = did_you_mean(glob, _walk(folder)) or "Correct it, or put the file there."
    return PackageError(f"{glob!r} under files matches no file of {folder.name!r}", hint=hint, path=recipe, line=line)


def _named(args: object, folder: Path) -> Iterator[str]:
    """Yield the files that texts in ``args``, at any depth, name by a relative path."""
    for text in _texts(args):
        if not text or len(text) > _LONGEST_PATH or "\0" in text or "\n" in text:
            continue
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            continue
        if is_regular_below(folder, str(path), PackageError):
            yield str(path)


def _texts(value: object) -> Iterator[str]:
    open_values = [value]
    while open_values:
        value = open_values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            items: Iterable[object] = value.values() if isinstance(value, dict) else value
            open_values.extend(items)

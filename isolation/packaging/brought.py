"""
Recipes that were sent as texts: laid out in a folder of their own for as long as they are packed.

Nothing is looked for outside that folder, no name leads out of it, and no error tells where it is.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import FileError, IsolationError, PackageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_FILES = 1_000
_LONGEST_NAME_BYTES = 255
_LONGEST_PATH = 1_024
_DEEPEST = 16
_FOLDER = "recipe"
"""What a recipe without a name is called by."""


@contextmanager
def laid_out(recipe: str, files: Mapping[str, bytes]) -> Iterator[Path]:
    """
    Yield the file of a recipe, beside its other files by their relative names; it is all gone after the block.

    Raises PackageError for a name that is not a plain relative path. Errors of the block tell names as they were sent.
    """
    name = "recipe.json" if recipe.lstrip().startswith("{") else "recipe.yaml"
    _check(name, files)
    with tempfile.TemporaryDirectory(prefix="isolation-brought-") as place:
        folder = Path(place).resolve() / _FOLDER
        folder.mkdir()
        for path, content in {**files, name: recipe.encode()}.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        try:
            yield folder / name
        except IsolationError as error:
            _forget(error, folder)
            raise


def _check(recipe: str, files: Mapping[str, bytes]) -> None:
    if len(files) > MOST_FILES:
        raise PackageError(f"there are more than {MOST_FILES} files", hint="Upload a package instead.")
    for path in files:
        parts = path.split("/")
        if len(path) > _LONGEST_PATH or len(parts) > _DEEPEST or not all(map(_is_plain, parts)):
            raise PackageError(
                f"{path[:60]!r} is not a plain, relative name of a file",
                hint="Name it from the recipe's folder on, such as data/days.csv.",
            )
        if path == recipe:
            raise PackageError(f"{path!r} is the recipe itself", hint="Send it as `recipe`, and not among `files`.")
    taken = {*files, recipe}
    for path in files:
        folders = {path[:at] for at, letter in enumerate(path) if letter == "/"}
        if folders & taken:
            raise PackageError(f"{min(folders & taken)!r} is a file and a folder", hint="Rename one of both.")


def _is_plain(part: str) -> bool:
    if part in {"", ".", ".."} or not part.isprintable() or "\\" in part:
        return False
    return len(os.fsencode(part)) <= _LONGEST_NAME_BYTES


def _forget(error: IsolationError, folder: Path) -> None:
    def named(text: str) -> str:
        return text.replace(f"{folder}/", "").replace(str(folder), "the recipe's folder")

    error.sentence, error.hint = named(error.sentence), named(error.hint)
    error.args = (error.sentence,)
    if isinstance(error, FileError):
        error.path = named(error.path)

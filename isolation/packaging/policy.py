"""Reads policies: by name from the project's own, or from a file."""

from __future__ import annotations

from pathlib import Path

from isolation.errors import NoSuchPolicyError, PolicyError, did_you_mean
from isolation.model.policy import Policy
from isolation.packaging.files import read_regular
from isolation.packaging.shape import shape
from isolation.packaging.text import LARGEST_TEXT_BYTES, read

_HERE = Path(__file__).resolve().parent.parent
_FOLDERS = (_HERE / "policies", _HERE.parent / "policies")
"""Inside an installed package, or beside it in a checkout."""


def load_policy(name_or_path: str | Path) -> Policy:
    """
    Read a policy: the project's own of that name, or else the file.

    Raises PolicyError, with file and line where there are any.
    """
    path = policy_path(name_or_path)
    content = read_regular(path, LARGEST_TEXT_BYTES, PolicyError)
    return shape(Policy, read(content, path, PolicyError), path, PolicyError)


def policy_path(name_or_path: str | Path) -> Path:
    """Find the file of a policy: a text with a slash or a suffix is its path. PolicyError for an unknown name."""
    text = str(name_or_path)
    if "/" in text or text.endswith((".yaml", ".yml", ".json")):
        return Path(text)
    known = _files()
    if text not in known:
        hint = did_you_mean(text, known) or f"Known: {', '.join(sorted(known))}; or name a file."
        raise NoSuchPolicyError(f"there is no policy {text!r}", hint=hint)
    return known[text]


def policy_names() -> tuple[str, ...]:
    """Return the names of the project's own policies."""
    return tuple(sorted(_files()))


class Policies:
    """
    The policies of a server, by name alone: the files of a folder of the operator's, and the project's own.

    Of two of the same name the operator's counts. A name never becomes a path: it is looked up in a list.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted(self._known()))

    def get(self, name: str) -> Policy:
        """Read a policy; PolicyError for a name that nobody knows, and for a file that says nothing of use."""
        return load_policy(self._path(name))

    def text(self, name: str) -> str:
        """Read a policy as it is written."""
        return read_regular(self._path(name), LARGEST_TEXT_BYTES, PolicyError).decode("utf-8", "replace")

    def _path(self, name: str) -> Path:
        known = self._known()
        if name not in known:
            hint = did_you_mean(name, known) or f"Known: {', '.join(sorted(known))}."
            raise NoSuchPolicyError(f"there is no policy {name!r}", hint=hint)
        return known[name]

    def _known(self) -> dict[str, Path]:
        return _files() | {path.stem: path for path in self._folder.glob("*.yaml")}


def policy_of(text: str) -> Policy:
    """Read a policy from its text; PolicyError, with the line, for what cannot be used."""
    path = "policy.yaml"
    return shape(Policy, read(text.encode(), path, PolicyError), path, PolicyError)


def _files() -> dict[str, Path]:
    return {path.stem: path for folder in _FOLDERS if folder.is_dir() for path in folder.glob("*.yaml")}

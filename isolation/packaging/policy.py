"""Reads policies: by name from the project's own, or from a file."""

from __future__ import annotations

from pathlib import Path

from isolation.errors import PolicyError, did_you_mean
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
        raise PolicyError(f"there is no policy {text!r}", hint=hint)
    return known[text]


def policy_names() -> tuple[str, ...]:
    """Return the names of the project's own policies."""
    return tuple(sorted(_files()))


def _files() -> dict[str, Path]:
    return {path.stem: path for folder in _FOLDERS if folder.is_dir() for path in folder.glob("*.yaml")}

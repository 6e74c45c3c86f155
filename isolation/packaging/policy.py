"""Reads policies: by name from the project's own, or from a file."""

from __future__ import annotations

from pathlib import Path

from isolation.errors import PolicyError

_HERE = Path(__file__).resolve().parent.parent
_FOLDERS = (_HERE / "policies", _HERE.parent / "policies")
"""Inside an installed package, or beside it in a checkout."""


def policy_names() -> tuple[str, ...]:
    """Return the names of the project's own policies."""
    return tuple(sorted({path.stem for folder in _FOLDERS if folder.is_dir() for path in folder.glob("*.yaml")}))

"""A package: exactly what will run, named by the digest of its content."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isolation.model.recipe import Recipe

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def canonical(value: object) -> bytes:
    r"""
    Write a JSON value in the one form that digests are made from: sorted keys, no spaces, UTF-8.

    >>> canonical({"b": 1, "a": "é"})
    b'{"a":"\xc3\xa9","b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(content: bytes) -> str:
    """Name content by its SHA-256, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def is_digest(text: str) -> bool:
    """Tell whether a text may name content, by its SHA-256."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFile:
    """One file: ``path`` is relative, with ``/``, and is where it lies below /package in the container."""

    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Package:
    """
    A recipe with everything that it needs.

    ``files`` are sorted by path. ``lock`` is the text of the locked requirements (with hashes), empty if there
    are none. ``optional_imports`` name modules that are imported under a condition only and were not found: they
    are not in the package, and their import fails inside as it would anywhere.
    """

    recipe: Recipe
    files: tuple[PackedFile, ...]
    lock: str = ""
    optional_imports: tuple[str, ...] = ()

    def manifest(self) -> bytes:
        """Write the package's description; the same content gives the same bytes on any machine."""
        return self._manifest

    @cached_property
    def _manifest(self) -> bytes:
        return canonical(
            {
                "recipe": self.recipe.model_dump(mode="json", by_alias=True),
                "files": [asdict(file) for file in self.files],
                "lock": self.lock,
                "optional_imports": list(self.optional_imports),
            }
        )

    @cached_property
    def digest(self) -> str:
        """Name the package by what it holds."""
        return digest_of(self._manifest)

    def document(self) -> dict[str, object]:
        """Tell people and programs what is in it, as JSON values."""
        return {
            "recipe": self.recipe.name,
            "digest": self.digest,
            "files": [asdict(file) for file in self.files],
            "requirements": list(self.recipe.requirements),
            "secrets": list(self.recipe.secrets),
            "lock": self.lock,
            "optional_imports": list(self.optional_imports),
        }

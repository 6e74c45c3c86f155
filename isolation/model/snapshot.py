"""A snapshot: the part of the context that one run may see, as it was at one version."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isolation.model.package import canonical, digest_of

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """
    Values by key, each with the version of the store's entry that it came from.

    ``version`` is the store's at the time. A value given for this run only (``--set``) has no entry in
    ``versions``; a key that the store did not hold has none either.
    """

    version: int
    values: dict[str, JsonValue] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def content(self) -> bytes:
        """Write the snapshot as the container will read it."""
        return canonical({"version": self.version, "values": self.values, "versions": self.versions})

    def given(self) -> dict[str, JsonValue]:
        """
        Return the values that were given for one run only.

        >>> Snapshot(version=1, values={"a": 1, "b": 2}, versions={"a": 1}).given()
        {'b': 2}
        """
        return {key: value for key, value in self.values.items() if key not in self.versions}

    @classmethod
    def read(cls, content: bytes) -> Snapshot:
        """Read a recorded snapshot."""
        return cls(**json.loads(content))

    @property
    def digest(self) -> str:
        """Name the snapshot by what it holds."""
        return digest_of(self.content())

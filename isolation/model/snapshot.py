"""A snapshot: the part of the context that one run may see, as it was at one version."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from isolation.mapped import Over
from isolation.model.package import canonical, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pydantic import JsonValue


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseName:
    """
    What tells a base: its content's digest, and how it is made again: what was there for these globs at that version.

    ``declared`` are a recipe's globs (None: it declares nothing), ``allowed`` a policy's.
    """

    digest: str
    version: int
    declared: tuple[str, ...] | None
    allowed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """
    What the context held at one version, in a file of its own that many snapshots share.

    ``values`` are looked up where they lie; ``folder`` is what a cell mounts. It is there as long as somebody has
    ``held``.
    """

    name: BaseName
    folder: Path
    values: Mapping[str, JsonValue]
    held: object


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """
    Values by key, each with the version of the store's entry that it came from.

    ``version`` is the store's at the time. A value given for this run only (``--set``) has no entry in
    ``versions``; a key that the store did not hold has none either.

    With a ``base``, ``values`` are those that are not as they are there, and ``hidden`` the keys of it that are not
    there any more; ``seen`` is all of it.

    ``apart``: the store has no part in it, and nothing that is made of it goes there.
    """

    version: int
    values: dict[str, JsonValue] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    base: Base | None = None
    hidden: tuple[str, ...] = ()
    apart: bool = False

    @cached_property
    def seen(self) -> Mapping[str, JsonValue]:
        """
        Everything that the run may see, looked up where it lies.

        >>> Snapshot(version=1, values={"b": 2, "a": 1}).seen["a"]
        1
        """
        return self.values if self.base is None else Over(self.base.values, self.values, self.hidden)

    def content(self) -> bytes:
        """Write the snapshot as it is recorded, and as the container will read it; of a base only its name."""
        document: dict[str, object] = {"version": self.version, "values": self.values, "versions": self.versions}
        if self.apart:
            document["apart"] = True
        if self.base is not None:
            name = self.base.name
            of = {"declared": name.declared, "allowed": name.allowed}
            document["base"] = {"digest": name.digest, "version": name.version, **of}
            document["hidden"] = self.hidden
        return canonical(document)

    def given(self) -> dict[str, JsonValue]:
        """
        Return the values that were given for one run only.

        >>> Snapshot(version=1, values={"a": 1, "b": 2}, versions={"a": 1}).given()
        {'b': 2}
        """
        return {key: value for key, value in self.values.items() if key not in self.versions}

    @classmethod
    def read(cls, content: bytes, base_of: Callable[[BaseName], Base]) -> Snapshot:
        """Read a recorded snapshot; ``base_of`` finds its base, if it has one."""
        document = json.loads(content)
        base = document.pop("base", None)
        if base is None:
            return cls(**document)
        declared = None if base["declared"] is None else tuple(base["declared"])
        name = BaseName(**base | {"declared": declared, "allowed": tuple(base["allowed"])})
        return cls(**document | {"hidden": tuple(document["hidden"])}, base=base_of(name))

    @property
    def digest(self) -> str:
        """Name the snapshot by what it holds."""
        return digest_of(self.content())

"""
Takes snapshots: of all that a run may see, or of what is not as in a base that many snapshots share.

    no base, and little to see ─▶ everything is in the snapshot
    no base, and much          ─▶ a base is made
    a base, little written     ─▶ what was written since is in the snapshot
    a base, much written       ─▶ another base is made

What is much written is a share of the base: so making bases adds to every write a cost that does not grow with the
context.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

from isolation.context import entries
from isolation.context.bases import Named
from isolation.errors import StorageError
from isolation.model.package import canonical, digest_of
from isolation.model.snapshot import Base, BaseName, Snapshot
from isolation.rules.scope import allows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pydantic import JsonValue

    from isolation.context.bases import Bases, Held
    from isolation.context.entries import Space

_SMALL = 256 * 2**10
"""Characters of keys and JSON that a snapshot may well hold itself."""
_FEW = 1_000
"""Writes anywhere in the namespace that cost nothing to look through."""
_SHARE = 64
"""What may have been written since a base was made: one part of so many of it."""


class Scope(NamedTuple):
    """What a run may see: keys that one of the globs of each list covers; ``declared`` None covers all."""

    declared: tuple[str, ...] | None
    allowed: tuple[str, ...]

    @classmethod
    def of(cls, declared: Sequence[str] | None, allowed: Sequence[str]) -> Scope:
        """Take the globs of a recipe and of a policy."""
        return cls(None if declared is None else tuple(declared), tuple(allowed))

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs by which to look for them."""
        return self.allowed if self.declared is None else self.declared

    def has(self, key: str) -> bool:
        """Tell whether a key is one of them."""
        return allows(key, self.declared, self.allowed)


def apart(declared: Sequence[str] | None, allowed: Sequence[str], given: Mapping[str, JsonValue]) -> Snapshot:
    """Take what a run may see of values that are a whole context by themselves; no store has a part in it."""
    scope = Scope.of(declared, allowed)
    return Snapshot(version=0, values={key: given[key] for key in sorted(given) if scope.has(key)}, apart=True)


class Freezing:
    """Takes the snapshots of one store; ``bases`` None: there are none."""

    def __init__(self, bases: Bases | None) -> None:
        self._bases = bases
        self._small: dict[Scope, tuple[int, int]] = {}
        """Scopes without a base: how much there was to read at a version."""

    def freeze(self, space: Space, scope: Scope, own: dict[str, JsonValue], base: Base | None) -> Snapshot:
        """Take what is there now, with ``own`` over it."""
        version = entries.newest_version(space)
        if base is None:
            found = [entry for entry in entries.current_matching(space, scope.globs) if scope.has(entry.key)]
        else:
            changed = sorted(filter(scope.has, entries.changed_since(space, base.name.version)))
            found = [*entries.current(space, changed).values()]
        shown = sorted((one for one in found if not one.deleted and one.key not in own), key=lambda entry: entry.key)
        gone = (one.key for one in found if one.deleted and one.key not in own)
        return Snapshot(
            version=version,
            values={entry.key: entry.value for entry in shown} | own,
            versions={entry.key: entry.version for entry in shown},
            base=base,
            hidden=() if base is None else tuple(sorted(key for key in gone if key in base.values)),
        )

    @property
    def making(self) -> AbstractContextManager[object]:
        """What a thread holds while it makes a base: others would make the same."""
        return nullcontext() if self._bases is None else self._bases.making

    def base_for(self, space: Space, scope: Scope, *, make: bool) -> tuple[Base | None, bool]:
        """
        Choose the base of a snapshot that is taken next; tells too whether that is the last word.

        It is not where one is due, and not to be made here.
        """
        if self._bases is None or not scope.globs:
            return None, True
        version = entries.newest_version(space)
        where = digest_of(canonical([space.namespace, *scope]))
        newest = self._bases.newest(where)
        if newest is None or entries.anchor(space, newest[0].version) != newest[0].anchor:
            if self._is_small(space, scope, version):
                return None, True
            return self._make(space, scope, where, version) if make else None, make
        named, held = newest
        if not _is_much(held, version - named.version):
            written = [size for key, size in entries.changed_since(space, named.version).items() if scope.has(key)]
            if sum(written) <= max(_SMALL, held.size_bytes // _SHARE):
                return _base(held, scope, named.version), True
        return self._make(space, scope, where, version) if make else None, make

    def base_named(self, space: Space, name: BaseName) -> Base:
        """Find a base, or make it again."""
        if self._bases is None:
            raise StorageError("this store has no bases, and the snapshot stands on one")
        scope = Scope(name.declared, name.allowed)
        held = self._bases.open(name.digest) or self._bases.make(_items(space, scope, name.version))
        if held.digest != name.digest:
            raise StorageError(
                f"the base {name.digest} of a recorded snapshot is not there, and the history gives another",
                hint="The context's database is not the one that the run was made with; put back a copy of that.",
            )
        return _base(held, scope, name.version)

    def _is_small(self, space: Space, scope: Scope, version: int) -> bool:
        """Tell whether a scope needs no base; what it was found to hold once is not counted anew."""
        known = self._small.get(scope)
        if known is not None and 0 < version - known[0] <= _FEW:
            written = sum(size + len(key) for key, size in entries.changed_since(space, known[0]).items())
            known = (version, known[1] + written)
        if known is None or known[0] != version or known[1] > _SMALL:
            known = (version, entries.size_near(space, scope.globs))
        self._small[scope] = known
        return known[1] <= _SMALL

    def _make(self, space: Space, scope: Scope, where: str, version: int) -> Base:
        assert self._bases is not None, "no bases"  # noqa: S101 - base_for() asked
        held = self._bases.make(_items(space, scope))
        self._bases.name(where, Named(held.digest, version, entries.anchor(space, version)), held)
        self._bases.sweep()
        return _base(held, scope, version)


def _items(space: Space, scope: Scope, version: int | None = None) -> Iterator[tuple[str, bytes]]:
    return ((key, text) for key, text in entries.texts(space, scope.globs, version) if scope.has(key))


def _is_much(held: Held, writes: int) -> bool:
    return writes > max(_FEW, len(held.values) // _SHARE)


def _base(held: Held, scope: Scope, version: int) -> Base:
    name = BaseName(digest=held.digest, version=version, declared=scope.declared, allowed=scope.allowed)
    return Base(name=name, folder=held.folder, values=held.values, held=held)

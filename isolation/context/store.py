"""The context: versioned keys and values, every write an entry that stays."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from isolation.context import entries, merging
from isolation.context.entries import Space
from isolation.context.freezing import Freezing, Scope
from isolation.context.key import check_key
from isolation.context.value import check_value
from isolation.context.writing import Order, write
from isolation.errors import ContextError, NoSuchKeyError, did_you_mean
from isolation.model.changes import Changes, HistoryFilter, Reads
from isolation.settings import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import JsonValue
    from sqlalchemy import Connection

    from isolation.context.bases import Bases
    from isolation.model.changes import Entry, Merge
    from isolation.model.policy import MergeRule
    from isolation.model.snapshot import Base, BaseName, Snapshot
    from isolation.state.database import Database

ALL = HistoryFilter()
NOTHING_READ = Reads()


class ContextStore:
    """
    The context of one namespace; any number of threads and processes may use it at once.

    What ``set``, ``delete`` and ``merge`` wrote is there after a power cut; readers see all of it or nothing.
    """

    def __init__(self, database: Database, namespace: str = DEFAULT_NAMESPACE, *, bases: Bases | None = None) -> None:
        """``bases`` None: every snapshot holds all that its run may see."""
        self._database = database
        self._namespace = namespace
        self._freezing = Freezing(bases)

    def version(self) -> int:
        """Return the version of the newest entry; 0 before the first."""
        with self._reading() as space:
            return entries.newest_version(space)

    def get(self, key: str, version: int | None = None) -> Entry | None:
        """Return what the key holds, now or when the store had a version; None if nothing."""
        with self._reading() as space:
            if version is not None:
                return entries.at_version(space, [key], version).get(key)
            return _held(space, key)

    def list(self, glob: str = "*", version: int | None = None) -> tuple[Entry, ...]:
        """Return what all keys under the glob hold, now or when the store had a version, sorted by key."""
        with self._reading() as space:
            if version is not None:
                return tuple(entries.matching_at_version(space, glob, version))
            return tuple(entries.current_matching(space, (glob,)))

    def page(self, glob: str, after: str, limit: int, version: int | None = None) -> tuple[Entry, ...]:
        """Return at most ``limit`` of what ``list`` does, after a key; what holds now costs as much as is returned."""
        with self._reading() as space:
            if version is None:
                found = entries.current_matching(space, (glob,), after)
            else:
                found = (one for one in entries.matching_at_version(space, glob, version) if one.key > after)
            return tuple(islice(found, limit))

    def set(self, key: str, value: JsonValue, who: str, at: str, run_id: str | None = None) -> Entry:
        """Write a value, whatever was there; also an equal value makes an entry. ContextError if it cannot be kept."""
        (entry,) = self.change(Changes(set={key: value}), who, at, run_id)
        return entry

    def delete(self, key: str, who: str, at: str, run_id: str | None = None) -> Entry:
        """Delete a key, whose history stays; ContextError if there is none."""
        (entry,) = self.change(Changes(deleted=(key,)), who, at, run_id)
        return entry

    def change(
        self,
        changes: Changes,
        who: str,
        at: str,
        run_id: str | None = None,
        expected: Mapping[str, int] | None = None,
    ) -> tuple[Entry, ...]:
        """
        Write and delete several keys in one transaction: all of it, or none.

        ``expected`` says for some keys which version of theirs must be the newest, 0 for a key that holds nothing;
        they need not be among those that change. Raises ContextChangedError where one is another, ContextError for
        what cannot be kept, or a key to delete that is not there.
        """
        order = Order(changes=changes, who=who, run_id=run_id, expected=expected or {})
        order.check()
        with self._writing() as space:
            (written,) = write(space, [order], at)
        if isinstance(written, NoSuchKeyError):
            near = did_you_mean(written.key, (entry.key for entry in self.list()))
            raise NoSuchKeyError(written.key, near or written.hint)
        if isinstance(written, ContextError):
            raise written
        return written

    def history(self, glob: str = "*", limit: int = 100, filters: HistoryFilter = ALL) -> tuple[Entry, ...]:
        """Return at most ``limit`` entries of the keys under the glob, newest first, deletions included."""
        with self._reading() as space:
            return tuple(entries.past(space, glob, limit, filters))

    def changes_after(self, version: int, limit: int) -> tuple[tuple[Entry, Entry | None], ...]:
        """Return at most ``limit`` of the writes after a version, the oldest first, each with what it replaced."""
        with self._reading() as space:
            found = entries.after(space, version, limit)
            held: dict[str, Entry] = entries.at_version(space, sorted({entry.key for entry in found}), version)
        changes: list[tuple[Entry, Entry | None]] = []
        for entry in found:
            earlier = held.get(entry.key)
            changes.append((entry, None if earlier is None or earlier.deleted else earlier))
            held[entry.key] = entry
        return tuple(changes)

    def before(self, written: Sequence[Entry]) -> tuple[Entry | None, ...]:
        """Return for each write what its key held before it; None where it held nothing."""
        with self._reading() as space:
            return tuple(entries.at_version(space, [entry.key], entry.version - 1).get(entry.key) for entry in written)

    def freeze(
        self,
        declared: Sequence[str] | None,
        allowed: Sequence[str],
        overlay: Mapping[str, JsonValue] | None = None,
        base: Base | None = None,
    ) -> Snapshot:
        """
        Take what one run may see, all of it as it was at one moment.

        ``declared`` are the recipe's globs (None: it declares nothing), ``allowed`` the policy's. ``overlay`` holds
        values for this run only: they hide what the store has under their keys, and are left out where the run may
        not see them (``rules.scope.allows`` tells which, for who wants to complain). With a ``base`` that was chosen
        for these globs, it costs what was written since.
        """
        scope, own = _wanted(declared, allowed, overlay or {})
        with self._reading() as space:
            return self._freezing.freeze(space, scope, own, base)

    def take(
        self, declared: Sequence[str] | None, allowed: Sequence[str], overlay: Mapping[str, JsonValue] | None = None
    ) -> Snapshot:
        """Choose a base, and ``freeze`` on it: in one transaction, unless one has to be made."""
        scope, own = _wanted(declared, allowed, overlay or {})
        with self._reading() as space:
            base, is_final = self._freezing.base_for(space, scope, make=False)
            if is_final:
                return self._freezing.freeze(space, scope, own, base)
        return self.freeze(declared, allowed, overlay, self.base_for(declared, allowed))

    def base_for(self, declared: Sequence[str] | None, allowed: Sequence[str]) -> Base | None:
        """
        Choose what a snapshot of these globs may stand on; None where all of it is small, or this store has no bases.

        It costs what was written since the base was made, until that is too much of it: then another is made, which
        costs all that the globs cover. Raises StorageError.
        """
        scope = Scope.of(declared, allowed)
        with self._reading() as space:
            base, is_final = self._freezing.base_for(space, scope, make=False)
        if is_final:
            return base
        with self._freezing.making, self._reading() as space:  # seen anew: another thread may just have made it
            return self._freezing.base_for(space, scope, make=True)[0]

    def base_named(self, name: BaseName) -> Base:
        """Find a base by its name, or make it again from the history. Raises StorageError if that is not possible."""
        with self._reading() as space:
            return self._freezing.base_named(space, name)

    def merge(
        self,
        transaction: Connection,
        snapshot: Snapshot,
        changes: Changes,
        rule: MergeRule,
        *,
        reads: Reads = NOTHING_READ,
        who: str,
        run_id: str | None,
        at: str,
    ) -> Merge:
        """
        Merge a run's changes inside the transaction that also ends the run (``Ledger.settling``), or not at all.

        On a conflict nothing is written and the status says so; whether the run then ends is the caller's decision.
        ``reads`` count where the rule is strict.
        """
        space = Space(transaction, self._namespace)
        return merging.apply(space, snapshot, changes, rule, reads=reads, who=who, run_id=run_id, at=at)

    @contextmanager
    def _reading(self) -> Iterator[Space]:
        with self._database.reading() as connection:
            yield Space(connection, self._namespace)

    @contextmanager
    def _writing(self) -> Iterator[Space]:
        with self._database.writing() as connection:
            yield Space(connection, self._namespace)


def _wanted(
    declared: Sequence[str] | None, allowed: Sequence[str], overlay: Mapping[str, JsonValue]
) -> tuple[Scope, dict[str, JsonValue]]:
    for key, value in overlay.items():
        check_value(check_key(key), value)
    scope = Scope.of(declared, allowed)
    return scope, {key: value for key, value in overlay.items() if scope.has(key)}


def _held(space: Space, key: str) -> Entry | None:
    entry = entries.current(space, [key]).get(key)
    return None if entry is None or entry.deleted else entry

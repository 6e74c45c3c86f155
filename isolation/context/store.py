"""The context: versioned keys and values, every write an entry that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.context import entries, merging
from isolation.context.key import check_key
from isolation.context.value import check_value
from isolation.errors import ContextError, did_you_mean
from isolation.model.snapshot import Snapshot
from isolation.rules.merge import Write
from isolation.rules.scope import allows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue
    from sqlalchemy import Connection

    from isolation.model.changes import Changes, Entry, Merge
    from isolation.model.policy import MergeRule
    from isolation.state.database import Database


class ContextStore:
    """
    The context of one state folder; any number of threads and processes may use it at once.

    What ``set``, ``delete`` and ``merge`` wrote is there after a power cut; readers see all of it or nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> int:
        """Return the version of the newest entry; 0 before the first."""
        with self._database.reading() as connection:
            return entries.newest_version(connection)

    def get(self, key: str) -> Entry | None:
        """Return what the key holds now; None if it holds nothing, or was deleted."""
        with self._database.reading() as connection:
            entry = entries.current(connection, [key]).get(key)
        return None if entry is None or entry.deleted else entry

    def list(self, glob: str = "*") -> tuple[Entry, ...]:
        """Return what all keys under the glob hold now, sorted by key."""
        with self._database.reading() as connection:
            return tuple(entries.current_matching(connection, (glob,)))

    def set(self, key: str, value: JsonValue, who: str, at: str, run_id: str | None = None) -> Entry:
        """Write a value, whatever was there; also an equal value makes an entry. ContextError if it cannot be kept."""
        check_value(check_key(key), value)
        with self._database.writing() as connection:
            return _append(connection, Write(key=key, value=value, deleted=False, who=who), run_id, at)

    def delete(self, key: str, who: str, at: str, run_id: str | None = None) -> Entry:
        """Delete a key, whose history stays; ContextError if there is none."""
        write = Write(key=key, value=None, deleted=True, who=who)
        with self._database.writing() as connection:
            entry = entries.current(connection, [key]).get(key)
            if entry is not None and not entry.deleted:
                return _append(connection, write, run_id, at)
        hint = did_you_mean(key, (entry.key for entry in self.list())) or "`isolation context list` shows all."
        raise ContextError(f"the context has no key {key!r}", hint=hint)

    def history(self, glob: str = "*", limit: int = 100) -> tuple[Entry, ...]:
        """Return at most ``limit`` entries of the keys under the glob, newest first, deletions included."""
        with self._database.reading() as connection:
            return tuple(entries.past(connection, glob, limit))

    def freeze(
        self,
        declared: Sequence[str] | None,
        allowed: Sequence[str],
        overlay: Mapping[str, JsonValue] | None = None,
    ) -> Snapshot:
        """
        Take what one run may see, all of it as it was at one moment.

        ``declared`` are the recipe's globs (None: it declares nothing), ``allowed`` the policy's. ``overlay`` holds
        values for this run only: they hide what the store has under their keys, and are left out where the run may
        not see them (``rules.scope.allows`` tells which, for who wants to complain).
        """
        for key, value in (overlay or {}).items():
            check_value(check_key(key), value)
        own = {key: value for key, value in (overlay or {}).items() if allows(key, declared, allowed)}
        with self._database.reading() as connection:
            version = entries.newest_version(connection)
            found = [
                entry
                for entry in entries.current_matching(connection, allowed if declared is None else declared)
                if entry.key not in own and allows(entry.key, declared, allowed)
            ]
        return Snapshot(
            version=version,
            values={entry.key: entry.value for entry in found} | own,
            versions={entry.key: entry.version for entry in found},
        )

    def merge(
        self,
        transaction: Connection,
        snapshot: Snapshot,
        changes: Changes,
        rule: MergeRule,
        *,
        who: str,
        run_id: str | None,
        at: str,
    ) -> Merge:
        """
        Merge a run's changes inside the transaction that also ends the run (``Ledger.settling``), or not at all.

        On a conflict nothing is written and the status says so; whether the run then ends is the caller's decision.
        """
        return merging.apply(transaction, snapshot, changes, rule, who=who, run_id=run_id, at=at)


def _append(connection: Connection, write: Write, run_id: str | None, at: str) -> Entry:
    entries.append(connection, (write,), who=write.who, run_id=run_id, at=at)
    return entries.current(connection, [write.key])[write.key]

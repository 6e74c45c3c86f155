r"""
Decide what becomes of a run's changes, given what others did since its snapshot.

==============================  =========================================
the newest entry of a key       our change
==============================  =========================================
says what our change says       nothing to do
was there at the snapshot       is written
is younger: a conflict          ``fail``: nothing at all is written
\                               ``ours``: is written
\                               ``theirs``: is dropped
==============================  =========================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.model.changes import Conflict
from isolation.model.package import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from isolation.model.changes import Changes, Entry
    from isolation.model.policy import MergeRule
    from isolation.model.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One entry to be written; ``who`` is empty where the run does not say who wrote it."""

    key: str
    value: JsonValue
    deleted: bool
    who: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MergePlan:
    """
    What a merge will do; either ``conflicts`` or ``writes`` is empty.

    ``dropped`` are the keys that were in conflict and, by the rule ``theirs``, keep the other's value.
    """

    writes: tuple[Write, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    dropped: tuple[str, ...] = ()


def merge(snapshot: Snapshot, current: Mapping[str, Entry], changes: Changes, rule: MergeRule) -> MergePlan:
    """
    Plan the merge of ``changes``; ``current`` holds the newest entries of (at least) the changed keys.

    A key was changed by somebody else when its newest entry is younger than the snapshot as a whole. That says
    the same as comparing with the entry that the snapshot saw, and holds also for keys that the run could write
    without seeing them, and for those whose value was given for this run only.

    Values are equal when their canonical JSON is: ``1``, ``1.0`` and ``true`` are three values. A deleted key and
    one that never existed are equal. So two runs that both count from 5 to 6 agree, and one addition is lost:
    ``fail`` keeps others' values from being overwritten, it does not serialise what was read.
    """
    writes: list[Write] = []
    conflicts: list[Conflict] = []
    dropped: list[str] = []
    for key in changes.keys():  # noqa: SIM118 - sorted, and not a dict
        write = _write(key, changes)
        entry = current.get(key)
        if _says(entry) == _says(write):
            continue
        changed = entry is not None and entry.version > snapshot.version
        if not changed or rule.on_conflict == "ours":
            writes.append(write)
        elif rule.on_conflict == "theirs":
            dropped.append(key)
        elif entry is not None:
            conflicts.append(_conflict(write, entry))
    return MergePlan(writes=() if conflicts else tuple(writes), conflicts=tuple(conflicts), dropped=tuple(dropped))


def _write(key: str, changes: Changes) -> Write:
    deleted = key not in changes.set
    return Write(key=key, value=changes.set.get(key), deleted=deleted, who=changes.writers.get(key, ""))


def _says(entry: Entry | Write | None) -> bytes | None:
    return None if entry is None or entry.deleted else canonical(entry.value)


def _conflict(ours: Write, theirs: Entry) -> Conflict:
    return Conflict(
        key=ours.key,
        ours=ours.value,
        theirs=theirs.value,
        our_writer=ours.who,
        their_writer=theirs.who,
        their_run_id=theirs.run_id,
    )

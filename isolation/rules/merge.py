r"""
Decide what becomes of a run's changes, given what others did since its snapshot.

==============================  ==================================================
the newest entry of a key       our change
==============================  ==================================================
says what our change says       nothing to do, unless a rule combines
was there at the snapshot       is written
is younger: a conflict          ``fail``: nothing at all is written
\                               ``rerun``: nothing either, and the run is run again
\                               ``ours``: is written
\                               ``theirs``: is dropped
\                               ``add`` and the others of ``rules.combine``: both
                                become one value, or it is as with ``fail``
==============================  ==================================================

A key was changed by somebody else when its newest entry is younger than the snapshot as a whole. That says the same as
comparing with the entry that the snapshot saw, and holds also for keys that the run could write without seeing them,
and for those whose value was given for this run only.

Values are equal when their canonical JSON is: ``1``, ``1.0`` and ``true`` are three values. A deleted key and one that
never existed are equal. So, where no rule combines, two runs that both count from 5 to 6 agree, and one addition is
lost: ``fail`` keeps others' values from being overwritten, it does not serialise what was read.

``strict`` does. There a key that the run read, written or not, is in conflict when its newest entry is younger and says
something else than the snapshot did, unless its rule lets both changes stand. With ``fail`` and ``rerun`` alone, all
runs that are merged come out as if each had begun when the one before it had ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from isolation.model.changes import Conflict
from isolation.rules.combine import ABSENT, COMBINING, ClashError, same, settle, stale
from isolation.rules.scope import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from pydantic import JsonValue

    from isolation.model.changes import Changes, Entry
    from isolation.model.policy import MergeRule, OnConflict
    from isolation.model.snapshot import Snapshot
    from isolation.rules.combine import Fate, Value


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

    ``dropped`` are the keys that were in conflict and, by the rule ``theirs``, keep the other's value; ``combined``
    those whose value comes from both. ``rerun``: every conflict is one that the policy wants run again.
    """

    writes: tuple[Write, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    dropped: tuple[str, ...] = ()
    combined: tuple[str, ...] = ()
    rerun: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Since:
    """
    What happened to the keys that the run changed or read, since its snapshot.

    ``current`` are their newest entries. ``read`` names, for each key of which it matters that the run read it, the
    step that did. ``unseen`` are those that the store held at the snapshot, and the run was not shown: what it wrote
    there is no change of anything.
    """

    current: Mapping[str, Entry]
    read: Mapping[str, str] = field(default_factory=dict)
    unseen: Container[str] = ()


def merge(
    snapshot: Snapshot,
    since: Since,
    changes: Changes,
    rule: MergeRule,
    *,
    check: Callable[[str, JsonValue], object] = lambda _key, _value: None,
) -> MergePlan:
    """Plan the merge of ``changes``; ``check`` raises ClashError for a combined value that cannot be kept."""
    writes: list[Write] = []
    conflicts: list[Conflict] = []
    dropped: list[str] = []
    combined: list[str] = []
    changed = {*changes.keys()}
    for key in sorted({*changed, *since.read}):
        found = _Key(key, snapshot, since, on_conflict(key, rule))
        if key not in changed:
            if found.stale:
                conflicts.append(found.conflict_of_read())
            continue
        write = _write(key, changes)
        fate, value, why = found.settle(write, check)
        if fate == "conflict":
            conflicts.append(found.conflict(write, why))
        elif fate == "theirs":
            dropped.append(key)
        elif fate == "combined":
            combined.append(key)
            write = replace(write, value=value)
        if fate in {"ours", "combined"} and not same(found.theirs, _value(write)):
            writes.append(write)
    return MergePlan(
        writes=() if conflicts else tuple(writes),
        conflicts=tuple(conflicts),
        dropped=tuple(dropped),
        combined=() if conflicts else tuple(combined),
        rerun=bool(conflicts) and all(on_conflict(one.key, rule) == "rerun" for one in conflicts),
    )


def on_conflict(key: str, rule: MergeRule) -> OnConflict:
    """
    Return what happens to one key: the first rule that covers it decides.

    >>> from isolation.model.policy import MergeRule
    >>> rule = MergeRule.model_validate({"rules": [{"keys": ["count.*"], "on_conflict": "add"}]})
    >>> on_conflict("count.words", rule), on_conflict("words", rule)
    ('add', 'fail')
    """
    return next((one.on_conflict for one in rule.rules if matches(key, one.keys)), rule.on_conflict)


class _Key:
    """One key: what the run saw there, and what is there now."""

    def __init__(self, key: str, snapshot: Snapshot, since: Since, how: OnConflict) -> None:
        self._key = key
        self._how = how
        self._reader = since.read.get(key, "")
        self._unseen = key in since.unseen
        self._entry = since.current.get(key)
        self._younger = self._entry is not None and self._entry.version > snapshot.version
        self._base: Value = snapshot.seen.get(key, ABSENT)
        self.theirs = _value(self._entry)

    @property
    def stale(self) -> bool:
        """Tell whether the run read something that is not so any more, and the rule minds."""
        return bool(self._reader) and self._younger and stale(self._how, self._base, self.theirs)

    def settle(self, ours: Write, check: Callable[[str, JsonValue], object]) -> tuple[Fate, JsonValue, str]:
        """Decide what becomes of a change: how, the value where both were combined, and why they could not be."""
        if not self._younger:
            return "ours", None, ""
        if self._unseen and self._how in COMBINING:
            return "conflict", None, f"{self._how}: the run was not shown what was there"
        try:
            fate, value = settle(self._how, self._base, self.theirs, _value(ours), read=bool(self._reader))
            if fate != "combined" or value is ABSENT:
                return fate, None, ""
            check(self._key, value)
        except ClashError as clash:
            return "conflict", None, f"{self._how}: {clash}"
        return "combined", value, ""

    def conflict(self, ours: Write, why: str) -> Conflict:
        """Describe a conflict of a change; where both came to the same value, it is that of what was read."""
        if not why and same(_value(ours), self.theirs):
            return self.conflict_of_read()
        return self._describe(_value(ours), ours.who, read=False, why=why)

    def conflict_of_read(self) -> Conflict:
        """Describe a conflict of what was read."""
        return self._describe(self._base, self._reader, read=True, why="")

    def _describe(self, ours: Value, who: str, *, read: bool, why: str) -> Conflict:
        assert self._entry is not None, "a conflict with nobody"  # noqa: S101 - a younger entry made it one
        return Conflict(
            key=self._key,
            ours=None if ours is ABSENT else ours,
            theirs=None if self.theirs is ABSENT else self.theirs,
            our_writer=who,
            their_writer=self._entry.who,
            their_run_id=self._entry.run_id,
            read=read,
            missing="ours" if ours is ABSENT else "theirs" if self.theirs is ABSENT else "",
            why=why,
        )


def _value(entry: Entry | Write | None) -> Value:
    return ABSENT if entry is None or entry.deleted else entry.value


def _write(key: str, changes: Changes) -> Write:
    deleted = key not in changes.set
    return Write(key=key, value=changes.set.get(key), deleted=deleted, who=changes.writers.get(key, ""))

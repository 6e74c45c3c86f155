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
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from isolation.model.changes import Conflict
from isolation.rules.combine import ABSENT, COMBINING, ClashError, combine, same
from isolation.rules.scope import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from pydantic import JsonValue

    from isolation.model.changes import Changes, Entry
    from isolation.model.policy import MergeRule, OnConflict
    from isolation.model.snapshot import Snapshot
    from isolation.rules.combine import Value


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
    What happened to the changed keys since the snapshot.

    ``current`` are their newest entries. ``unseen`` are those that the store held at the snapshot, and the run was not
    shown: what it wrote there is no change of anything.
    """

    current: Mapping[str, Entry]
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
    for key in changes.keys():  # noqa: SIM118 - sorted, and not a dict
        write, how, entry = _write(key, changes), on_conflict(key, rule), since.current.get(key)
        younger = entry if entry is not None and entry.version > snapshot.version else None
        if younger is not None and how in COMBINING:
            try:
                write = _combined(how, snapshot, since, write, check)
            except ClashError as clash:
                conflicts.append(_conflict(write, younger, f"{how}: {clash}"))
                continue
            combined.append(key)
            younger = None
        if same(_value(entry), _value(write)):
            continue
        if younger is None or how == "ours":
            writes.append(write)
        elif how == "theirs":
            dropped.append(key)
        else:
            conflicts.append(_conflict(write, younger, ""))
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


def _combined(
    how: str, snapshot: Snapshot, since: Since, write: Write, check: Callable[[str, JsonValue], object]
) -> Write:
    if write.key in since.unseen:
        raise ClashError("the run was not shown what was there")
    base, theirs = snapshot.values.get(write.key, ABSENT), _value(since.current[write.key])
    value = combine(how, base, theirs, _value(write))
    check(write.key, value)
    return replace(write, value=value)


def _value(entry: Entry | Write | None) -> Value:
    return ABSENT if entry is None or entry.deleted else entry.value


def _write(key: str, changes: Changes) -> Write:
    deleted = key not in changes.set
    return Write(key=key, value=changes.set.get(key), deleted=deleted, who=changes.writers.get(key, ""))


def _conflict(ours: Write, theirs: Entry, why: str) -> Conflict:
    return Conflict(
        key=ours.key,
        ours=ours.value,
        theirs=theirs.value,
        our_writer=ours.who,
        their_writer=theirs.who,
        their_run_id=theirs.run_id,
        why=why,
    )

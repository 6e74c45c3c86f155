"""Carry out a merge inside the transaction that also ends the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isolation.context import entries
from isolation.context.key import check_key
from isolation.context.value import check_value
from isolation.errors import ContextError
from isolation.model.changes import Merge
from isolation.rules.combine import ClashError
from isolation.rules.merge import Since, merge
from isolation.rules.scope import covers

if TYPE_CHECKING:
    from pydantic import JsonValue

    from isolation.context.entries import Space
    from isolation.model.changes import Changes, Reads
    from isolation.model.policy import MergeRule
    from isolation.model.snapshot import Snapshot


def apply(
    space: Space,
    snapshot: Snapshot,
    changes: Changes,
    rule: MergeRule,
    *,
    reads: Reads,
    who: str,
    run_id: str | None,
    at: str,
) -> Merge:
    """
    Merge the changes into the context, or say with what they are in conflict; the caller commits.

    Only the changed keys are looked up, and where the rule is strict those that the run read, so the cost does not
    grow with the store or its history. ContextError if a key or a value cannot be kept.
    """
    if not changes:
        return Merge()
    for key in changes.keys():  # noqa: SIM118 - sorted, and not a dict
        check_value(check_key(key), changes.set.get(key))
    read = _seen(space, snapshot, reads) if rule.strict else {}
    plan = merge(snapshot, _since(space, snapshot, changes, read), changes, rule, check=check_combined)
    if plan.conflicts:
        version = entries.newest_version(space)
        conflicts = tuple(replace(conflict, our_run_id=run_id) for conflict in plan.conflicts)
        return Merge(status="conflict", version=version, conflicts=conflicts, rerun=plan.rerun)
    version = entries.append(space, plan.writes, who=who, run_id=run_id, at=at)
    return Merge(status="merged", version=version, dropped=plan.dropped, combined=plan.combined)


def _seen(space: Space, snapshot: Snapshot, reads: Reads) -> dict[str, str]:
    """Return the keys that the run saw in the store, be it that they were not there, each with the step that did."""
    given = snapshot.given()  # the store had no part in them
    read = {key: step for key, step in reads.keys.items() if key not in given}
    if reads.all_by:
        for key in entries.changed_since(space, snapshot.version):
            if key not in reads.own and key not in given and covers(reads.scope, key):
                read.setdefault(key, reads.all_by)
    return read


def _since(space: Space, snapshot: Snapshot, changes: Changes, read: dict[str, str]) -> Since:
    current = entries.current(space, sorted({*changes.keys(), *read}))
    younger = [key for key in changes.keys() if key in current and current[key].version > snapshot.version]  # noqa: SIM118 - no dict
    hidden = [key for key in younger if key not in snapshot.seen]
    return Since(current=current, read=read, unseen=entries.at_version(space, hidden, snapshot.version))


def check_combined(key: str, value: JsonValue) -> None:
    """Raise ClashError for a combined value that cannot be kept."""
    try:
        check_value(key, value)
    except ContextError as error:
        raise ClashError(error.sentence) from error

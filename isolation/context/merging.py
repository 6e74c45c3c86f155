"""Carry out a merge inside the transaction that also ends the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.context import entries
from isolation.context.key import check_key
from isolation.context.value import check_value
from isolation.errors import ContextError
from isolation.model.changes import Merge
from isolation.rules.combine import ClashError
from isolation.rules.merge import Since, merge

if TYPE_CHECKING:
    from pydantic import JsonValue

    from isolation.context.entries import Space
    from isolation.model.changes import Changes
    from isolation.model.policy import MergeRule
    from isolation.model.snapshot import Snapshot


def apply(
    space: Space,
    snapshot: Snapshot,
    changes: Changes,
    rule: MergeRule,
    *,
    who: str,
    run_id: str | None,
    at: str,
) -> Merge:
    """
    Merge the changes into the context, or say with what they are in conflict; the caller commits.

    Only the changed keys are read, so the cost does not grow with the store or its history. ContextError if a
    key or a value cannot be kept.
    """
    if not changes:
        return Merge()
    for key in changes.keys():  # noqa: SIM118 - sorted, and not a dict
        check_value(check_key(key), changes.set.get(key))
    plan = merge(snapshot, _since(space, snapshot, changes), changes, rule, check=_check_combined)
    if plan.conflicts:
        version = entries.newest_version(space)
        return Merge(status="conflict", version=version, conflicts=plan.conflicts, rerun=plan.rerun)
    version = entries.append(space, plan.writes, who=who, run_id=run_id, at=at)
    return Merge(status="merged", version=version, dropped=plan.dropped, combined=plan.combined)


def _since(space: Space, snapshot: Snapshot, changes: Changes) -> Since:
    current = entries.current(space, changes.keys())
    younger = [key for key, entry in current.items() if entry.version > snapshot.version]
    hidden = [key for key in younger if key not in snapshot.values]
    return Since(current=current, unseen=entries.at_version(space, hidden, snapshot.version))


def _check_combined(key: str, value: JsonValue) -> None:
    try:
        check_value(key, value)
    except ContextError as error:
        raise ClashError(error.sentence) from error

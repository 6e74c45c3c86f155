"""How a run's changes come into a context in memory: three ways, all of them or none, as into a kept one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from isolation.clock import timestamp
from isolation.model.changes import Entry, Merge
from isolation.model.snapshot import Snapshot
from isolation.rules.merge import Since, merge

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from pydantic import JsonValue

    from isolation.model.policy import MergeRule
    from isolation.model.run import Result
    from orchestrator.context import Context


@dataclass(frozen=True, slots=True)
class Frozen:
    """
    What a run is given: the values at one moment, and over them those for it alone.

    ``writes`` is how many the context had seen by then, ``keys`` what it held, and ``inputs`` are those values.
    """

    values: dict[str, JsonValue]
    inputs: Mapping[str, JsonValue]
    keys: frozenset[str]
    writes: int

    @classmethod
    def of(cls, context: Context, inputs: Mapping[str, JsonValue] | None = None) -> Frozen:
        """Take what is there now."""
        with context.held():
            values = context.to_dict()
            return cls(values | dict(inputs or {}), inputs or {}, frozenset(values), len(context.get_history()))

    def again(self, context: Context) -> Frozen:
        """Take what is there by now, with the same inputs."""
        return Frozen.of(context, self.inputs)


def merge_into(context: Context, frozen: Frozen, result: Result, rule: MergeRule, made: set[int]) -> Merge:
    """
    Merge what a run that succeeded changed, or say with what of others' it is in conflict; then nothing is written.

    The same rules decide as for a context that is kept (``isolation.rules.merge``). ``made`` numbers writes that are
    in conflict with nothing; those of this merge are added.
    """
    if not result.succeeded or not result.changes:
        return Merge()
    with context.held():
        snapshot = Snapshot(version=frozen.writes, values=frozen.values)
        before = len(context.get_history())
        since = Since(current=_newest(context, made), read=_read(context, result) if rule.strict else {})
        plan = merge(snapshot, since, result.changes, rule)
        if plan.conflicts:
            return Merge(status="conflict", conflicts=plan.conflicts, rerun=plan.rerun)
        for write in plan.writes:
            if write.deleted:
                context.delete(write.key, who=write.who or result.recipe)
            else:
                context.set(write.key, write.value, who=write.who or result.recipe)
        made.update(range(before + 1, len(context.get_history()) + 1))
    return Merge(status="merged", dropped=plan.dropped, combined=plan.combined)


def _newest(context: Context, made: Container[int] = ()) -> dict[str, Entry]:
    return {
        entry["key"]: Entry(
            version=0 if number in made else number,
            key=entry["key"],
            value=entry["after"],
            deleted=entry.get("deleted", False),
            who=entry["who"],
            run_id=None,
            at=timestamp(datetime.fromtimestamp(entry["timestamp"], UTC)),
        )
        for number, entry in enumerate(context.get_history(), 1)
    }


def _read(context: Context, result: Result) -> dict[str, str]:
    steps = result.attempts[-1].steps
    found = {key: step.name for step in steps for key in step.keys_read}
    for step in steps:
        if step.read_all:
            found |= {key: step.name for key in (*context.to_dict(), *_newest(context)) if key not in found}
    return found

"""
Where the context of an application's run is, and how what the run changes comes into it.

A kept one gets it with the run's end. Into one in memory it is merged here, and into one at a server there
(``served``): three ways, all of it or none, by the same rules (``isolation.rules.merge``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from isolation.clock import timestamp
from isolation.model.changes import Entry, HistoryFilter, Merge
from isolation.model.snapshot import Snapshot
from isolation.rules.merge import Since, merge
from orchestrator.context import Context
from orchestrator.keeping import AtServer

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from pydantic import JsonValue

    from isolation.model.policy import MergeRule
    from isolation.model.run import Result
    from orchestrator.keeping import InStores
    from orchestrator.kept import KeptContext


@dataclass(frozen=True, slots=True)
class Frozen:
    """
    What a run is given: the values at one moment, and over them those for it alone.

    ``writes`` is how many the context had seen by then, ``keys`` what it held, and ``inputs`` are those values.
    ``entries`` are the writes that a server held, by key.
    """

    values: dict[str, JsonValue]
    inputs: Mapping[str, JsonValue]
    keys: frozenset[str]
    writes: int
    entries: Mapping[str, Entry] = field(default_factory=dict)


class Home(Protocol):
    """Where a run's context is, for who runs it. ``apart``: the run itself neither sees nor changes what is kept."""

    apart: bool

    def opening(self) -> dict[str, Any]:
        """Return what a controller is to be opened with."""

    def freeze(self, inputs: Mapping[str, JsonValue]) -> Frozen:
        """Take what a run is given, ``inputs`` for it alone among it."""

    def merge(self, frozen: Frozen, result: Result, rule: MergeRule, made: set[int]) -> Merge:
        """Merge what a run changed, if that has not happened yet; ``made`` numbers writes that stand in no way."""

    def created(self, frozen: Frozen, result: Result, merge: Merge) -> tuple[str, ...]:
        """Return the keys that are new."""


def home_of(context: Context | KeptContext) -> Home:
    """Find out where a context is."""
    if isinstance(context, Context):
        return _Memory(context)
    if isinstance(context.keeping, AtServer):
        from orchestrator.served import Served  # what asks a server is slow to import

        return Served(context.keeping)
    return _Store(context.keeping)


class _Store:
    """A context that is kept: the run merges into it, in one transaction with its own end."""

    apart = False

    def __init__(self, kept: InStores) -> None:
        self._kept = kept

    def opening(self) -> dict[str, Any]:
        settings = self._kept.settings
        return {"state": settings.state, "database": settings.database, "namespace": settings.namespace}

    def freeze(self, inputs: Mapping[str, JsonValue]) -> Frozen:
        return Frozen(dict(inputs), inputs, frozenset(), 0)

    def merge(self, frozen: Frozen, result: Result, rule: MergeRule, made: set[int]) -> Merge:  # noqa: ARG002 - merged already
        return result.merge

    def created(self, frozen: Frozen, result: Result, merge: Merge) -> tuple[str, ...]:  # noqa: ARG002 - as above
        if merge.version is None:
            return ()
        return self._new_at(merge.version, result)

    def _new_at(self, version: int, result: Result) -> tuple[str, ...]:
        """Return the keys that a run's merge, which made ``version``, set and that held nothing before it."""
        contexts = self._kept.contexts
        written = contexts.history(
            "*", len(result.changes.keys()), HistoryFilter(run_id=result.run_id, before=version + 1)
        )
        before = contexts.before(written)
        return tuple(
            sorted(
                entry.key
                for entry, earlier in zip(written, before, strict=True)
                if not entry.deleted and (earlier is None or earlier.deleted)
            )
        )


class _Memory:
    """A context in memory: it is all that the run sees, and what comes out is merged here."""

    apart = True

    def __init__(self, context: Context) -> None:
        self._context = context

    def opening(self) -> dict[str, Any]:
        return {}

    def freeze(self, inputs: Mapping[str, JsonValue]) -> Frozen:
        with self._context.held():
            values = self._context.to_dict()
            return Frozen(values | dict(inputs), inputs, frozenset(values), len(self._context.get_history()))

    def created(self, frozen: Frozen, result: Result, merge: Merge) -> tuple[str, ...]:
        return created_of(frozen, result, merge)

    def merge(self, frozen: Frozen, result: Result, rule: MergeRule, made: set[int]) -> Merge:
        return merge_into(self._context, frozen, result, rule, made)


def created_of(frozen: Frozen, result: Result, merge: Merge) -> tuple[str, ...]:
    """Return the keys that a run set, and that were not there when it was given the context."""
    if merge.status != "merged":
        return ()
    return tuple(key for key in result.changes.set if key not in frozen.keys and key not in merge.dropped)


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
        current = _newest(context, made)
        since = Since(current=current, read=read_by(result, current) if rule.strict else {})
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
    """Return the newest write of each key; what the context was made with was written by nobody, before all else."""
    began = {
        key: Entry(version=0, key=key, value=value, deleted=False, who="unknown", run_id=None, at="")
        for key, value in context.to_dict().items()
    }
    return began | {
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


def read_by(result: Result, keys: Iterable[str]) -> dict[str, str]:
    """Return what the run read, each key with the step that did; of who read all, that is all of ``keys``."""
    steps = result.attempts[-1].steps
    found = {key: step.name for step in steps for key in step.keys_read}
    for step in steps:
        if step.read_all:
            found |= {key: step.name for key in keys if key not in found}
    return found

"""A context at a server: a run goes on apart from it, and what it changes is merged there, by comparing and setting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isolation.client import questions
from isolation.context.merging import check_combined
from isolation.errors import ContextChangedError
from isolation.model.changes import Changes, Merge
from isolation.model.snapshot import Snapshot
from isolation.rules.merge import Since, merge
from orchestrator.homes import Frozen, created_of, read_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from isolation.model.changes import Entry
    from isolation.model.policy import MergeRule
    from isolation.model.run import Result
    from isolation.rules.merge import MergePlan
    from orchestrator.keeping import AtServer

MOST_LOOKS = 50
"""So often is the context looked at anew, because others wrote between the look and the merge."""


class Served:
    """
    A context at a server, as a run's home.

        all of it, at one version ─▶ the run, here ─▶ what is younger? ─▶ plan ─▶ write, if all is still as it was seen
                                                            ▲                                  │ else
                                                            └──────────────────────────────────┘
    """

    apart = True

    def __init__(self, kept: AtServer) -> None:
        self._kept = kept

    def opening(self) -> dict[str, Any]:
        """Return nothing: runs are recorded where this machine records them."""
        return {}

    def freeze(self, inputs: Mapping[str, JsonValue]) -> Frozen:
        """Take all that the server holds, as it was at one version."""
        held = self._kept.client.follow(questions.held())
        entries = {entry.key: entry for entry in held.entries}
        values = {key: entry.value for key, entry in entries.items()}
        return Frozen(values | dict(inputs), inputs, frozenset(values), held.version, entries)

    def created(self, frozen: Frozen, result: Result, merge: Merge) -> tuple[str, ...]:
        """Return the keys that are new."""
        return created_of(frozen, result, merge)

    def merge(self, frozen: Frozen, result: Result, rule: MergeRule, made: set[int]) -> Merge:
        """
        Merge what a run that succeeded changed, or say with what of others' it is in conflict.

        ``made`` has the versions of writes that are in conflict with nothing; those of this merge are added. Raises
        ContextChangedError where others never let it, and AnswerLostError where it may be merged or not.
        """
        if not result.succeeded or not result.changes:
            return Merge()
        for _ in range(MOST_LOOKS):
            look = _Look(frozen, self._kept.client.follow(questions.since(frozen.writes)))
            since = look.since(result, rule, made)
            snapshot = Snapshot(version=frozen.writes, values=frozen.values)
            plan = merge(snapshot, since, result.changes, rule, check=check_combined)
            if plan.conflicts:
                return Merge(status="conflict", version=look.version, conflicts=plan.conflicts, rerun=plan.rerun)
            try:
                written = self._write(plan, look, result, since, strict=rule.strict)
            except ContextChangedError:
                continue
            made.update(entry.version for entry in written)
            version = max((entry.version for entry in written), default=look.version)
            return Merge(status="merged", version=version, dropped=plan.dropped, combined=plan.combined)
        raise ContextChangedError(
            f"the context at {self._kept.url} was written each of {MOST_LOOKS} times before the run could be merged; "
            "nothing of it was written",
            hint="Run it again when fewer write the same keys.",
        )

    def _write(self, plan: MergePlan, look: _Look, result: Result, since: Since, *, strict: bool) -> tuple[Entry, ...]:
        if not plan.writes:
            return ()
        changes = Changes(
            set={write.key: write.value for write in plan.writes if not write.deleted},
            deleted=tuple(write.key for write in plan.writes if write.deleted),
            writers={write.key: write.who for write in plan.writes if write.who},
        )
        expected = look.versions({*result.changes.keys(), *since.read})
        read_all = strict and any(step.read_all for step in result.attempts[-1].steps)
        return self._kept.client.ask(
            questions.change(changes, result.recipe, expected, look.version if read_all else None)
        )


class _Look:
    """What the server holds now: what the run was given, and over it what is younger."""

    def __init__(self, frozen: Frozen, younger: tuple[Entry, ...]) -> None:
        self._frozen = frozen
        self._younger = {entry.key: entry for entry in reversed(younger)}  # the newest of a key came first
        self.version = younger[0].version if younger else frozen.writes

    def since(self, result: Result, rule: MergeRule, made: set[int]) -> Since:
        """Return what happened since the snapshot; the store had no part in what was given for this run alone."""
        current = {
            key: replace(entry, version=0) if entry.version in made else entry for key, entry in self._newest().items()
        }
        read = read_by(result, current) if rule.strict else {}
        return Since(current=current, read={key: step for key, step in read.items() if key not in self._frozen.inputs})

    def versions(self, keys: set[str]) -> dict[str, int]:
        """Return the versions at which keys are, 0 where one holds nothing."""
        newest = self._newest()
        return {key: newest[key].version if key in newest and not newest[key].deleted else 0 for key in sorted(keys)}

    def _newest(self) -> dict[str, Entry]:
        return {**self._frozen.entries, **self._younger}

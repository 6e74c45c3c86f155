"""
One run on the real stores, from its first blob to its merge: what the faults here are put into.

``main`` makes runs one after another, as the controller does but for the container, and prints for each how it was
told to end: ``acknowledged RUN`` or ``failed RUN SENTENCE``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import StorageError
from isolation.model.changes import Changes, Merge
from isolation.model.outcome import Outcome
from isolation.model.policy import MergeRule
from isolation.model.run import Attempt, Digests, Engine, Result
from isolation.model.usage import Usage
from isolation.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from isolation.model.snapshot import Snapshot

    Wants = Callable[[Snapshot], Mapping[str, JsonValue]]
    """Says what a run sets, having seen the snapshot."""

AT = "2025-01-02T03:04:05.678Z"
FAIL = MergeRule()


def wanted(run_id: str) -> dict[str, JsonValue]:
    """Tell what the run writes: keys of its own, in which it can be seen whether all of it is there."""
    return {f"{run_id}.{name}": run_id for name in "ab"}


def own_keys(run_id: str) -> Wants:
    """Have a run write its own keys, whatever it sees."""
    return lambda _: wanted(run_id)


def run(stores: Stores, run_id: str, wants: Wants, rule: MergeRule = FAIL) -> Merge:
    """
    Take a run from its beginning to its end, and again on a fresh snapshot as long as the rule says so.

    Raises StorageError, after which the run is abandoned.
    """
    digests = Digests(package=stores.blobs.put(run_id.encode()), snapshot="s", policy="p", image="i")
    stores.ledger.start(run_id, "r", "default", digests, AT)
    try:
        number = 1
        while (merge := settle(stores, run_id, digests, wants, rule, number=number)).rerun:
            number += 1
    except StorageError:
        stores.ledger.abandon(run_id, AT, "error:StorageError")
        raise
    return merge


def settle(stores: Stores, run_id: str, digests: Digests, wants: Wants, rule: MergeRule, *, number: int) -> Merge:
    """Make one attempt of a run that has begun, and merge it with its end, unless it is to be run again."""
    snapshot = stores.contexts.freeze(None, ["*"])
    stores.blobs.put(snapshot.content())
    changes = Changes(set=dict(wants(snapshot)))
    with stores.ledger.settling(run_id) as settling:
        merge = stores.contexts.merge(settling.connection, snapshot, changes, rule, who="r", run_id=run_id, at=AT)
        result = result_of(run_id, digests, changes, merge, number)
        if merge.rerun:
            settling.go_on(result.attempts[0], AT, due_at=AT)
        else:
            settling.finish(result, AT)
    return merge


def result_of(run_id: str, digests: Digests, changes: Changes, merge: Merge, number: int = 1) -> Result:
    """Make the result of a run whose last attempt succeeded, unless its merge found a conflict."""
    outcome = Outcome.CONFLICT if merge.status == "conflict" else Outcome.SUCCEEDED
    attempt = Attempt(number=number, outcome=outcome, cause="", started_at=AT)
    return Result(
        run_id=run_id,
        recipe="r",
        outcome=outcome,
        attempts=(attempt,),
        usage=Usage(),
        changes=changes,
        merge=merge,
        errors=(),
        artifacts=(),
        digests=digests,
        engine=Engine(name="", version="", runtime="", cgroup_version=1),
    )


def bury_the_dead(stores: Stores) -> None:
    """Do with the record what `isolation clean` does when a process has died."""
    for dead in stores.presence.gone():
        stores.presence.bury(dead, AT)


def say(line: str) -> None:
    """Write a line by a call that no fault is put into: what is told is not what is kept."""
    rest = memoryview(f"{line}\n".encode())
    while rest:
        rest = rest[os.writev(1, [rest]) :]


def main(state: str, *run_ids: str) -> None:
    """Make the runs, and say how each was told to end."""
    with Stores(Path(state)) as stores:
        for run_id in run_ids:
            try:
                run(stores, run_id, own_keys(run_id))
            except StorageError as error:
                say(f"failed {run_id} {error}")
            else:
                say(f"acknowledged {run_id}")

"""Rows 157 and 158: merges that meet, and results that come twice, late or in another order."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.errors import RunEndedError
from isolation.model.changes import Changes
from isolation.model.policy import MergeRule
from tests.reliability.counts import AT_ONCE, DELIVERIES, RUNS_EACH
from tests.reliability.one_run import AT, FAIL, result_of
from tests.reliability.together import add_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.run import Digests
    from isolation.stores import Stores

ROOT = Path(__file__).parents[2]


def by_threads(stores: Stores, _: str | None, on_conflict: str) -> None:
    rule = MergeRule.model_validate({"on_conflict": on_conflict})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda number: add_up(stores, f"p{number}", RUNS_EACH, rule), range(AT_ONCE)):
            pass


def by_processes(stores: Stores, url: str | None, on_conflict: str) -> None:
    words = [str(stores.folder), url or "", str(AT_ONCE), str(RUNS_EACH), on_conflict]
    command = [sys.executable, "-m", "tests.reliability.together", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("on_conflict", ["add", "rerun"])
@pytest.mark.parametrize("at_once", [by_threads, by_processes])
def test_row_157_merges_that_meet_add_up(
    stores: Stores, url: str | None, at_once: Callable[[Stores, str | None, str], None], on_conflict: str
) -> None:
    """On one key and on a key each: nothing is lost, nothing is counted twice, and no wait becomes an error."""
    at_once(stores, url, on_conflict)

    history = [entry.value for entry in stores.contexts.history("count", 10_000)]
    own = {entry.key: entry.value for entry in stores.contexts.list("own.*")}
    ends = Counter((run.state, run.outcome and run.outcome.value) for run in stores.ledger.list(10_000))
    assert [value["is"] if isinstance(value, dict) else value for value in history] == [
        *range(AT_ONCE * RUNS_EACH, 0, -1)
    ]
    assert own == {f"own.p{number}": RUNS_EACH for number in range(AT_ONCE)}
    assert ends == {("finished", "succeeded"): AT_ONCE * RUNS_EACH}


def deliver(stores: Stores, run_id: str, digests: Digests, attempt: int = 1) -> bool:
    """Merge and record a run's result; tell whether it was taken."""
    changes = Changes(set={f"{run_id}.attempt": attempt})
    snapshot = stores.contexts.freeze((), ["*"])
    try:
        with stores.ledger.settling(run_id) as settling:
            merge = stores.contexts.merge(settling.connection, snapshot, changes, FAIL, who="r", run_id=run_id, at=AT)
            settling.finish(result_of(run_id, digests, changes, merge, attempt), AT)
    except RunEndedError:
        return False
    return True


def test_row_158_results_that_come_again_late_or_shuffled_are_taken_once(stores: Stores, digests: Digests) -> None:
    """The same results one to ten times, from many threads, in no order: one row, one end and one merge each."""
    runs_of = {f"run{times}": times for times in range(1, DELIVERIES + 1)}
    for run_id in runs_of:
        stores.ledger.start(run_id, "r", "default", digests, AT)
    coming = [run_id for run_id, times in runs_of.items() for _ in range(times)]
    random.Random(158).shuffle(coming)  # noqa: S311 - the same order each time

    with ThreadPoolExecutor(DELIVERIES) as pool:
        taken = [*pool.map(lambda run_id: deliver(stores, run_id, digests), coming)]

    assert Counter(run_id for run_id, was in zip(coming, taken, strict=True) if was) == dict.fromkeys(runs_of, 1)
    assert Counter(entry.run_id for entry in stores.contexts.history(limit=1000)) == dict.fromkeys(runs_of, 1)
    assert Counter(run.run_id for run in stores.ledger.list(1000)) == dict.fromkeys(runs_of, 1)


def test_row_158_a_later_attempt_cannot_overwrite_an_earlier_commit(stores: Stores, digests: Digests) -> None:
    """Whoever was first has settled it, whatever number the other has."""
    stores.ledger.start("run", "r", "default", digests, AT)

    assert [deliver(stores, "run", digests, attempt) for attempt in (2, 3, 1)] == [True, False, False]
    assert [entry.value for entry in stores.contexts.history()] == [2]
    assert stores.ledger.get("run").attempts[-1].number == 2

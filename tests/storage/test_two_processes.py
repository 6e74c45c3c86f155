"""Several processes on one state folder, as two terminals are; and one that is killed in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from isolation.storage.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isolation.context.store import ContextStore
    from isolation.state.database import Database
    from isolation.storage.ledger import Ledger

    Python = Callable[..., subprocess.Popen[str]]

RUNS = 25
PRELUDE = """
import sys
from pathlib import Path
from isolation.context.store import ContextStore
from isolation.model.changes import Changes
from isolation.model.outcome import Outcome
from isolation.model.policy import MergeRule
from isolation.model.run import Attempt, Digests, Engine, Result
from isolation.model.usage import Usage
from isolation.state.database import Database
from isolation.storage.ledger import Ledger

database = Database.open(Path(sys.argv[1]), sys.argv[2] or None)
ledger, contexts = Ledger(database), ContextStore(database)
name, digests = sys.argv[3], Digests(package="p", snapshot="s", policy="q", image="i")

def result(run_id, changes, merge):
    outcome = Outcome.CONFLICT if merge.status == "conflict" else Outcome.SUCCEEDED
    attempt = Attempt(number=1, outcome=outcome, cause="", started_at="t")
    return Result(run_id=run_id, recipe="r", outcome=outcome, attempts=(attempt,), usage=Usage(), changes=changes,
                  merge=merge, errors=(), artifacts=(), digests=digests,
                  engine=Engine(name="", version="", runtime="", cgroup_version=1))

def begin(run_id):
    ledger.start(run_id, "r", "default", digests, "t")
    snapshot = contexts.freeze(None, ["*"])
    total = snapshot.values.get("total", {"count": 0})["count"] + 1
    changes = Changes(set={"total": {"count": total, "by": run_id}, f"{name}.last": run_id})
    return snapshot, changes

def merge(settling, snapshot, changes):
    return contexts.merge(settling.connection, snapshot, changes, MergeRule(), who=name, run_id=settling.run_id, at="t")
"""
COUNT = """
for number in range(int(sys.argv[4])):
    run_id = f"{name}-{number}"
    snapshot, changes = begin(run_id)
    if number == 0:
        print("begun", flush=True)
        sys.stdin.readline()
    with ledger.settling(run_id) as settling:
        settling.finish(result(run_id, changes, merge(settling, snapshot, changes)), "t")
"""
STOP_BEFORE_THE_COMMIT = """
snapshot, changes = begin("doomed")
with ledger.settling("doomed") as settling:
    settling.finish(result("doomed", changes, merge(settling, snapshot, changes)), "t")
    print("merged", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def python(tmp_path: Path, url: str | None) -> Python:
    return lambda code, *words: subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, tmp_path / "state", url or "", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def let_go(processes: list[subprocess.Popen[str]]) -> None:
    """Wait until all stand ready, and only then let any go on."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_runs_that_merge_at_once_lose_no_update(
    python: Python, ledger: Ledger, contexts: ContextStore, processes: int
) -> None:
    """
    Each run adds one to a total that it has read. Whoever was overtaken gets a conflict, never a lost addition.

    So the total is the number of runs that succeeded, and each has exactly one end. All have begun their first run
    before any may finish it, so that at least those truly meet. The total bears the run's name: two runs that write
    the very same value agree (see test_merge_rule), which would hide what is looked for here.
    """
    running = [python(COUNT, f"p{number}", str(RUNS)) for number in range(processes)]

    let_go(running)
    errors = [process.communicate()[1] for process in running]

    assert errors == [""] * processes
    ends = Counter(run.outcome.value for run in ledger.list(1000) if run.outcome)
    assert sum(ends.values()) == RUNS * processes
    assert ends["conflict"] >= processes - 1
    written = contexts.history("total", limit=1000)
    assert [(entry.value["count"], entry.value["by"]) for entry in written if isinstance(entry.value, dict)] == [
        (count, entry.run_id) for count, entry in zip(range(ends["succeeded"], 0, -1), written, strict=True)
    ]
    assert {entry.run_id for entry in written} == {
        run.run_id for run in ledger.list(1000) if run.outcome and run.outcome.value == "succeeded"
    }


def test_a_controller_that_is_killed_before_the_commit_leaves_no_trace_but_an_orphan(
    python: Python, database: Database, ledger: Ledger, contexts: ContextStore
) -> None:
    """Its merge was written, but not committed: others see nothing of it, and can write at once."""
    process = python(STOP_BEFORE_THE_COMMIT, "p")
    assert process.stdout is not None
    assert process.stdout.readline() == "merged\n"
    presence = Presence(database)
    assert presence.gone() == ()

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert contexts.list() == ()
    assert ledger.summary("doomed").state == "running"
    (dead,) = presence.gone()
    assert presence.runs_of(dead) == ("doomed",)
    assert presence.bury(dead, "t9").abandoned == ("doomed",)
    contexts.set("a", 1, "ann", "t")
    assert ledger.summary("doomed").state == "abandoned"
    assert contexts.version() == 1


@pytest.mark.slow
def test_stores_opened_before_see_what_another_process_wrote(
    python: Python, ledger: Ledger, contexts: ContextStore
) -> None:
    """Nothing is kept in memory that could be old."""
    assert contexts.get("p.last") is None

    process = python(COUNT, "p", "1")
    assert process.communicate("\n")[1] == ""

    assert contexts.get("p.last") is not None
    assert ledger.resolve("last") == "p-0"

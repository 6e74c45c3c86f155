"""Row 137: every call by which a run is kept is, one after another, the process's last, or fails."""

from __future__ import annotations

import re
import shutil
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from isolation.stores import Stores
from tests.reliability.one_run import bury_the_dead, own_keys, run, wanted
from tests.reliability.warm import traced, warm_processes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path

pytestmark = pytest.mark.slow
AT_ONCE = 2
CALLS = "fsync,fdatasync,write,pwrite64,ftruncate,rename,renameat2,unlink,unlinkat,link,linkat,mkdir"
ENDS = {"acknowledged": "finished", "failed": "abandoned"}
"""What was told, and what the record says then."""
SAID = {"ENOSPC": ("is full", "reports errors"), "EIO": ("reports errors",)}
"""What people are told. SQLite does not say why it could not write out or cut a file, and this disk is not full."""


@pytest.fixture(scope="module")
def warm() -> Iterator[ProcessPoolExecutor]:
    """Give the processes whose forks meet the faults."""
    with warm_processes(AT_ONCE) as pool:
        yield pool


@pytest.fixture(params=["a new folder", "a folder in use"])
def state(request: pytest.FixtureRequest, strace: str, tmp_path: Path) -> Path:
    """Give a state folder that is to be made, or one with something in it; each fault is put into a copy of it."""
    assert strace
    folder = tmp_path / "before"
    if request.param == "a new folder":
        folder.mkdir(mode=0o700)
    else:
        with Stores(folder) as stores:
            run(stores, "before", own_keys("before"))
    return folder


def moments(warm: ProcessPoolExecutor, state: Path, calls: Path) -> list[tuple[str, int]]:
    """Name every call that one run makes: its name, and its number among those of that name."""
    copy = shutil.copytree(state, state.with_name("counted"))
    done = warm.submit(traced, ["-o", str(calls), "-e", f"trace={CALLS}"], str(copy), "counted").result()
    assert done.stdout == "acknowledged counted\n", done.stderr
    made = Counter(re.findall(r"^\d+ +(\w+)\(", calls.read_text(), re.MULTILINE))
    assert {"fsync", "fdatasync", "pwrite64", "rename", "unlink"} <= {*made}
    return [(call, number + 1) for call, count in made.items() for number in range(count)]


def under(
    warm: ProcessPoolExecutor, state: Path, fault: str, moment: tuple[str, int]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Make two runs in a copy of the state folder, and put the fault into one call of the first."""
    call, number = moment
    copy = shutil.copytree(state, state.with_name(f"{call}-{number}"))
    options = ["-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={number}"]
    return copy, warm.submit(traced, options, str(copy), "first", "second").result()


def ends(state: Path) -> dict[str, str]:
    """Do what `isolation clean` does after a process that died, and say how each run is recorded to have ended."""
    with Stores(state) as stores:
        bury_the_dead(stores)
        return {summary.run_id: summary.state for summary in stores.ledger.list(10)}


def check(state: Path) -> dict[str, str]:
    """Assert that every run is there whole or not at all, and once; then that another is made as ever."""
    recorded = ends(state)
    with Stores(state) as stores:
        content = {entry.key: entry.value for entry in stores.contexts.list()}
        history = stores.contexts.history(limit=100)
        run(stores, "after", own_keys("after"))
        with stores.database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
    finished = [run_id for run_id, end in recorded.items() if end == "finished"]
    assert content == {key: value for run_id in finished for key, value in wanted(run_id).items()}, recorded
    assert len(history) == len(content), "merged more than once"
    return recorded


def check_killed(warm: ProcessPoolExecutor, state: Path, moment: tuple[str, int]) -> str | None:
    """Kill the process at one of its calls; return how its first run is recorded to have ended."""
    folder, done = under(warm, state, "signal=KILL", moment)
    recorded = check(folder)
    told = [line.split()[1] for line in done.stdout.splitlines()]
    # The last call of a kind is not made every time; then nobody was killed.
    assert done.returncode == -signal.SIGKILL or told == ["first", "second"], (moment, done.stderr)
    assert {run_id for run_id in told if recorded[run_id] != "finished"} == set(), moment
    return recorded.get("first")


def check_failed(warm: ProcessPoolExecutor, state: Path, error: str, moment: tuple[str, int]) -> list[str]:
    """Let one call fail; return what was told of the run in which it did: no other failed, and what was told is so."""
    folder, done = under(warm, state, f"error={error}", moment)
    assert done.returncode == 0, (moment, done.stderr)
    recorded = check(folder)
    told = done.stdout.splitlines()
    assert [line.split()[1] for line in told] == ["first", "second"], moment
    for word, run_id, *_ in map(str.split, told):
        # It may have failed before it was recorded that it began.
        assert recorded.get(run_id, "abandoned") == ENDS[word], (moment, told)
    failed = [line for line in told if line.startswith("failed")]
    assert len(failed) <= 1, (moment, told)
    return failed


def test_row_137_a_kill_at_any_call_leaves_all_of_a_run_or_nothing(
    warm: ProcessPoolExecutor, state: Path, tmp_path: Path
) -> None:
    """What was acknowledged is there; what was not is there whole or not at all, and the next run is as any other."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = {*pool.map(partial(check_killed, warm, state), moments(warm, state, tmp_path / "calls"))}

    assert found == {None, "abandoned", "finished"}


@pytest.mark.parametrize("error", SAID)
def test_row_137_an_error_at_any_call_is_told_or_harmless(
    warm: ProcessPoolExecutor, state: Path, tmp_path: Path, error: str
) -> None:
    """Either the run succeeded whole, or it says what the disk said and nothing is merged; the next succeeds."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = [*pool.map(partial(check_failed, warm, state, error), moments(warm, state, tmp_path / "calls"))]

    failed = [line for lines in told for line in lines]
    assert failed
    assert [line for line in failed if not any(said in line for said in SAID[error])] == []

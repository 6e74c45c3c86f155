"""``submit``, ``wait`` and ``cancel`` as people meet them; nobody runs anything here, so no engine is needed."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from isolation.cli import boundary
from isolation.cli.queue import _stopped_by_signals
from isolation.model.run import Digests
from isolation.state.schema import controllers
from isolation.stores import Stores
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command in a folder with a recipe; returns exit code, stdout, stderr."""
    monkeypatch.setenv("ISOLATION_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text("def run(context, params): ...\n")
    (tmp_path / "recipe.yaml").write_text(
        "metadata: {name: work}\nsteps: [{name: work, module: work, function: run}]\n"
    )

    def run(*words: str) -> tuple[int, str, str]:
        code = boundary.run(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_what_is_submitted_waits_and_is_shown(said: Said) -> None:
    """The id alone goes to stdout, for scripts; as JSON, with its namespace."""
    code, out, err = said("submit", ".", "--set", "a=1")
    run_id = out.strip()
    assert (code, err) == (0, "")
    listed = json.loads(said("runs", "--queued", "--json")[1])
    assert [(run["run_id"], run["state"], run["started_at"]) for run in listed] == [(run_id, "queued", None)]
    assert said("runs", "--running")[1] == "no such runs\n"
    assert "waits in the queue; `isolation worker` runs it" in said("show", run_id)[1]
    other = json.loads(said("submit", ".", "--namespace", "sales", "--json")[1])
    assert other["namespace"] == "sales"
    assert len(json.loads(said("runs", "--json")[1])) == 1


def test_a_key_is_for_one_thing(said: Said) -> None:
    """What is asked twice is one run, and another thing under the same key is a mistake."""
    first = said("submit", ".", "--key", "nightly")
    assert said("submit", ".", "--key", "nightly") == first
    code, out, err = said("submit", ".", "--key", "nightly", "--set", "a=1")
    assert (code, out) == (2, "")
    assert err.endswith("whose recipe, policy or values differ\nChoose a new key for what is new.\n")


def test_a_run_that_waits_is_cancelled_and_then_it_is_too_late(said: Said) -> None:
    """The second time it is an answer: it had ended."""
    run_id = said("submit", ".")[1].strip()
    assert said("cancel", run_id) == (0, f"{run_id} is cancelled\n", "")
    assert said("cancel", run_id) == (
        1,
        "",
        f"isolation: the run {run_id} has ended before: cancelled\n`isolation show {run_id}` shows how.\n",
    )
    assert json.loads(said("wait", run_id, "--json")[1])["outcome"] == "cancelled"
    assert said("wait", run_id, "--quiet")[0] == 1
    assert "cancelled: it was stopped from outside; nothing was merged" in said("show", run_id)[1]


def test_a_run_that_ended_otherwise_before_it_heard_is_not_called_cancelled(
    said: Said, digests: Digests, tmp_path: Path
) -> None:
    """Nothing was merged either way, but it says so itself in `isolation show`."""
    with Stores(tmp_path / "state") as stores, ThreadPoolExecutor(1) as beside:
        stores.ledger.start("r1", "etl", "default", digests, "t1")

        def end() -> None:
            until(lambda: stores.ledger.summary("r1").cancelled_at is not None)
            stores.ledger.abandon("r1", "t2")

        ended = beside.submit(end)
        assert said("cancel", "r1") == (0, "r1 ended as abandoned; nothing of it was merged\n", "")
        ended.result()


@pytest.mark.parametrize("command", ["wait", "cancel"])
def test_nobody_waits_for_ever_for_a_run_whose_process_is_gone(
    said: Said, digests: Digests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Where there is no worker, nobody finds that but `isolation clean`."""
    monkeypatch.setattr("isolation.submission._FOUND_S", 0.0)
    with Stores(tmp_path / "state") as stores:
        stores.ledger.start("r1", "etl", "default", digests, "t1")
        with stores.database.writing() as connection:
            connection.execute(update(controllers).values(owner_started="1"))

    code, out, err = said(command, "r1")

    assert (code, out) == (4, "")
    assert "isolation: the process that ran the run r1 is gone, and nobody has found that yet" in err


def test_whoever_waits_too_long_is_told(said: Said) -> None:
    """And the run goes on."""
    run_id = said("submit", ".")[1].strip()
    assert said("wait", run_id, "--timeout", "10ms") == (
        124,
        "",
        f"{run_id}: queued\nisolation: the run {run_id} is still queued after 0.01 s\nIt goes on; wait again.\n",
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("submit", "nowhere"), "nowhere"),
        (("submit", ".", "--priority", "high"), "'high' is not a whole number of at most six digits"),
        (("submit", ".", "--set", "a"), "'a'"),
        (("submit", ".", "--namespace", "No Spaces"), "the namespace 'No Spaces' cannot be one"),
        (("wait", "last"), "there are no runs yet"),
        (("cancel", "nothing"), "there is no run 'nothing' in this state folder"),
        (("wait", "last", "--timeout", "soon"), "--timeout cannot be 'soon'"),
        (("worker", "--slots", "0"), "'0' is not a number from 1"),
        (("runs", "--queued", "--running"), "a run is queued or running, and not both"),
        (("--database", "here", "runs"), "the database 'here' is no URL"),
        (("--database", "mysql://ann:secret@db/x", "runs"), "the database mysql://ann:***@db/x is no PostgreSQL"),
    ],
)
def test_a_wrong_word_is_named_with_what_to_do(said: Said, words: tuple[str, ...], sentence: str) -> None:
    """In two lines, and with the exit code for bad input."""
    code, out, err = said(*words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 2


def test_a_database_that_does_not_answer_is_said_without_its_password(said: Said, tmp_path: Path) -> None:
    """Nothing listens in that folder."""
    code, _, err = said("--database", f"postgresql://ann:secret@/x?host={tmp_path}", "runs")
    assert code == 4
    assert "does not answer" in err
    assert "secret" not in err


def test_a_signal_does_not_wait_for_what_it_interrupts() -> None:
    """It comes while the worker's own thread holds a lock that stopping takes; both would wait for ever."""
    lock, taken = threading.Lock(), SimpleQueue[bool]()

    class Ours:
        def stop(self) -> None:
            taken.put(lock.acquire(timeout=5))
            lock.release()

        release = stop

    with _stopped_by_signals(Ours()):  # type: ignore[arg-type]  # the two are all of it that is used
        for _ in range(2):
            with lock:
                signal.raise_signal(signal.SIGTERM)
            assert taken.get(timeout=60)


def test_whoever_waits_for_an_abandoned_run_sees_that(said: Said, tmp_path: Path) -> None:
    """Nobody will ever end it: that is shown, with the exit code of a lost one."""
    digests = Digests(package="p", snapshot="s", policy="q", image="i")
    with Stores(tmp_path / "state") as stores:
        stores.ledger.start("r1", "work", "default", digests, "2025-01-02T03:04:05.678Z")
        stores.ledger.abandon("r1", "2025-01-02T03:04:06.678Z")

    code, out, _ = said("wait", "r1")
    assert code == 3
    assert "abandoned: whoever ran it died; nothing was merged" in out
    assert json.loads(said("wait", "r1", "--json")[1])["state"] == "abandoned"

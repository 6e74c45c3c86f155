"""Batches on the real engine, from the command line and from a program, killed and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

import isolation
from tests.site import ISOLATION, Site, containers_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a killed process leaves, the tests of cleaning would find.
pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine"), pytest.mark.xdist_group("clean")]

WORK = """
import time

def run(context, params):
    number = context.get("i")
    print("under way", flush=True)
    time.sleep(context.get("seconds", 0))
    if number < 0:
        raise ValueError(f"{number} is negative")
    context.set(f"square.{number}", number * number)
"""


class Desk(Site):
    """A site with a recipe for batches."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None)
        self.recipe = folder / "recipe"
        self.recipe.mkdir()
        (self.recipe / "work.py").write_text(WORK)
        (self.recipe / "recipe.yaml").write_text(
            "metadata: {name: work}\nsteps: [{name: work, module: work, function: run}]\n"
        )
        self.inputs = folder / "inputs.jsonl"

    def write(self, *inputs: dict[str, int]) -> None:
        """Write the file of inputs."""
        self.inputs.write_text("".join(f"{json.dumps(one)}\n" for one in inputs))

    def begin(self, *words: str, inputs: str = "") -> subprocess.Popen[str]:
        """Begin a batch in a process of its own."""
        return subprocess.Popen(
            [ISOLATION, "batch", self.recipe, "--inputs", inputs or self.inputs, *words],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def batch(self, *words: str) -> tuple[int, str, str]:
        """Carry one out; returns exit code, stdout and stderr."""
        process = self.begin(*words)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def squares(self) -> list[int]:
        """Return what was merged, each time that it was."""
        history = self.stores.contexts.history("square.*", 1_000)
        return sorted(int(entry.key.removeprefix("square.")) for entry in history)

    def under_way(self) -> str:
        """Wait until a run is under way; returns its id."""
        until(lambda: len(self.stores.ledger.list(1, state="running")) == 1)
        (run,) = self.stores.ledger.list(1, state="running")
        self.until_under_way(run.run_id)
        return run.run_id


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    with desk.stores:
        yield desk


def test_a_program_gets_each_result_in_order(desk: Desk) -> None:
    """Each run sees its own values, and is merged and measured by itself."""
    done = [*isolation.batch(desk.recipe, [{"i": number} for number in (3, -1, 2)], state=desk.state, workers=2)]

    assert [(one.number, one.result.changes.set) for one in done] == [
        (1, {"square.3": 9}),
        (2, {}),
        (3, {"square.2": 4}),
    ]
    assert [one.result.outcome.value for one in done] == ["succeeded", "failed", "succeeded"]
    assert len({one.result.run_id for one in done}) == 3
    assert all(one.result.usage.cpu_s for one in done)
    assert desk.squares() == [2, 3]


def test_people_get_a_table_and_programs_a_line_each(desk: Desk) -> None:
    """And both the exit code of the worst; going on, the same again from the record."""
    desk.write({"i": 1}, {"i": -7}, {"i": 3})
    code, out, err = desk.batch("--workers", "2")

    assert (code, err.splitlines()[0].partition(": ")[2]) == (1, "3 inputs, 2 at once")
    lines = out.splitlines()
    assert lines[0].startswith("work: 3 done in ")
    assert lines[1:4] == ["  succeeded  2", "  failed     1", "did not succeed:"]
    assert "ValueError: -7 is negative" in lines[5]

    code, out, _ = desk.batch("--json", "--resume", "last")
    said = [json.loads(line) for line in out.splitlines()]
    assert (code, [(one["number"], one["outcome"], one["before"]) for one in said]) == (
        1,
        [(1, "succeeded", True), (2, "failed", True), (3, "succeeded", True)],
    )
    assert said[2]["changes"]["set"] == {"square.3": 9}
    assert said[1]["errors"] == [{"step": "work", "type": "ValueError", "message": "-7 is negative"}]
    assert desk.squares() == [1, 3]


def test_a_killed_batch_is_gone_on_with_and_each_input_is_merged_once(desk: Desk) -> None:
    """Nothing but the ledger is asked what was done: it cannot say less or more than was merged."""
    desk.write(*({"i": number} for number in range(1, 9)))
    with desk.begin("--json", "--key", "nightly", "--workers", "2") as killed:
        assert killed.stdout
        first = [json.loads(killed.stdout.readline()) for _ in range(3)]
        killed.kill()

    code, out, _ = desk.batch("--json", "--resume", "nightly", "--workers", "2")
    desk.work()  # a worker takes away what the killed process left

    said = [json.loads(line) for line in out.splitlines()]
    assert (code, [(one["number"], one["outcome"]) for one in said]) == (0, [(n, "succeeded") for n in range(1, 9)])
    assert [one["run_id"] for one in said[:3]] == [one["run_id"] for one in first]
    assert all(one["before"] for one in said[:3])
    assert desk.squares() == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_ends_its_runs_and_says_how_to_go_on(desk: Desk, number: signal.Signals) -> None:
    """No container is left, nothing half done is merged; what was cancelled is run again."""
    desk.write({"i": 1}, {"i": 2, "seconds": 40}, {"i": 3})
    with desk.begin("--json", "--workers", "1") as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["number"] == 1
        run_id = desk.under_way()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)

    key = err.split()[1].rstrip(":")
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[1:] == [
        f"isolation: the batch {key} was interrupted",
        f"The same command with `--resume {key}` goes on with it.",
    ]
    assert desk.stores.ledger.get(run_id).outcome is isolation.Outcome.CANCELLED
    assert containers_of(run_id) == []
    assert desk.squares() == [1]


def test_a_line_that_comes_is_answered_before_the_next(desk: Desk) -> None:
    """A program may wait for each result before it writes another input."""
    with desk.begin("--json", inputs="-") as process:
        assert process.stdin
        assert process.stdout
        for number in (1, 2):
            process.stdin.write(f'{{"i": {number}}}\n')
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["changes"]["set"] == {f"square.{number}": number**2}
        process.stdin.write("nonsense\n")
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (2, "")
    assert "isolation: standard input:3: not JSON" in err


def test_a_batch_whose_reader_goes_away_ends(desk: Desk) -> None:
    """As with `| head -1`."""
    read, write = os.pipe()
    desk.write(*({"i": number} for number in range(1, 30)))
    process = subprocess.Popen(
        [ISOLATION, "batch", desk.recipe, "--inputs", desk.inputs, "--json"],
        env=desk.environment,
        stdout=write,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    os.close(read)

    assert process.wait(timeout=60) == 141
    assert len(desk.squares()) < 29
    assert desk.stores.ledger.list(30, state="running") == ()

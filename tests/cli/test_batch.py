"""``isolation batch`` as people meet it: what is counted and shown, and wrong lines. No engine is needed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from isolation.batches import Done
from isolation.cli import boundary
from isolation.cli.paint import Paint
from isolation.cli.progress import Spaced
from isolation.cli.tally import Tally
from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Make


class Time:
    """A clock that stands until it is moved."""

    now_s = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


def test_the_rate_is_of_what_was_run_and_the_time_left_follows_from_it(make: Make) -> None:
    """What was run before takes no time, and would promise too much."""
    time = Time()
    tally = Tally("sales", 10, time)
    assert tally.line() == "0 of 10"

    tally.add(Done(number=1, result=make.result(), before=True))
    assert tally.line() == "1 of 10"
    time.now_s += 2
    tally.add(Done(number=2, result=make.result()))
    tally.add(Done(number=3, result=make.failed()))

    assert tally.line() == "3 of 10  1 did not succeed  1.0/s  7.0 s left"
    assert "".join(text for _, text in tally.lines()[0]) == f"sales  [######..............]  {tally.line()}"


def test_a_batch_that_is_done_has_no_time_left(make: Make) -> None:
    """Not even none."""
    time = Time()
    tally = Tally("sales", 1, time)
    time.now_s += 2
    tally.add(Done(number=1, result=make.result()))
    assert tally.line() == "1 of 1  0.5/s"


def test_where_nobody_knows_how_many_come_no_time_left_is_told(make: Make) -> None:
    """A guess would be worse."""
    time = Time()
    tally = Tally("sales", None, time)
    time.now_s += 4
    tally.add(Done(number=1, result=make.result()))

    assert tally.line() == "1 done  0.2/s"
    assert "".join(text for _, text in tally.lines()[0]) == "sales  1 done  0.2/s"


def test_the_table_has_all_outcomes_and_the_first_failures_fit_to_be_shown(make: Make) -> None:
    """In the order of the inputs; what a recipe says cannot move the cursor."""
    time = Time()
    tally = Tally("sales", 20, time)
    for number in (14, *range(13, 1, -1)):
        tally.add(Done(number=number, result=make.failed()))
    tally.add(Done(number=1, result=make.result()))
    tally.add(Done(number=15, result=make.result(Outcome.OUT_OF_MEMORY, "limits.memory", errors=()), before=True))
    time.now_s += 3

    lines = tally.summary(Paint())

    assert lines[:5] == [
        "sales: 15 done in 3.0 s, 1 of them from before",
        "  failed         13",
        "  succeeded       1",
        "  out_of_memory   1",
        "did not succeed, 4 more:",
    ]
    assert lines[5].split() == ["input", "outcome", "why", "run"]
    assert [int(line.split()[0]) for line in lines[6:]] == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert r"ValueError: no column\x1b[31m" in lines[6]


def test_a_log_gets_a_line_now_and_then(make: Make) -> None:
    """Three hundred a second help nobody."""
    time, stream = Time(), io.StringIO()
    tally = Tally("sales", None, time)
    spaced = Spaced(tally, stream, time)
    for _ in range(25):
        time.now_s += 1
        tally.add(Done(number=1, result=make.result()))
        spaced.tell()

    assert stream.getvalue() == "10 done  1.0/s\n20 done  1.0/s\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x", "an argument is missing: --inputs\n`isolation batch --help` shows how it is used."),
        ("x --inputs y --workers 0", "--workers: '0' is not a number from 1\n`isolation batch --help` shows how it is"),
        ("x --inputs y --key a --resume b", "--key and --resume both name the batch\nGive one of them."),
        ("x --inputs y --retry-failed", "--retry-failed is for a batch that was begun before\nName it: --resume KEY."),
        ("x --inputs nowhere.jsonl", "nowhere.jsonl: the inputs cannot be read: No such file or directory\n"),
        ("x --inputs y --resume last", "a batch was never begun here\nBegin one: without --resume."),
    ],
)
def test_a_wrong_line_is_answered_by_a_sentence_and_a_hint(
    line: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything runs; the engine is not even looked for."""
    monkeypatch.setenv("ISOLATION_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ISOLATION_ENGINE", "unix:///nowhere.sock")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    code = boundary.run(["batch", *line.split()])
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert shown.err.startswith(f"isolation: {told}")

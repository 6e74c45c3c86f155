"""What is recorded, shown again: `runs`, `show`, `logs` and `context`, on a real state folder and without an engine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from isolation.cli import boundary
from isolation.model.outcome import Outcome
from isolation.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Make

    Shown = Callable[..., tuple[int, str]]

AT = "2025-01-02T03:04:05.678Z"
RUN = "20250102-030405-abcd"


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    monkeypatch.setenv("ISOLATION_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with Stores(tmp_path / "state") as stores:
        yield stores


@pytest.fixture
def finished(stores: Stores, make: Make) -> Stores:
    result = make.failed()
    stores.ledger.start(RUN, "sales", "default", result.digests, AT)
    with stores.ledger.settling(RUN) as settling:
        settling.finish(result, AT)
    folder = stores.folder / "runs" / RUN
    folder.mkdir(parents=True)
    lines = [
        {"at": AT, "step": "extract", "stream": "stdout", "text": "12 rows"},
        {"at": AT, "step": "load", "stream": "log", "text": "bad\x1b[2J", "level": "ERROR"},
    ]
    (folder / "attempt-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return stores


@pytest.fixture
def shown(stores: Stores, capsys: pytest.CaptureFixture[str]) -> Shown:  # noqa: ARG001 - the folder must be there
    """Run a command; returns its exit code and what it wrote."""

    def run(*arguments: str) -> tuple[int, str]:
        code = boundary.run(arguments)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.mark.usefixtures("finished")
def test_the_list_of_runs(shown: Shown) -> None:
    """One line a run, with what one looks for."""
    assert shown("runs") == (
        0,
        (
            "run                   recipe  outcome   wall  attempts  policy   started\n"
            "20250102-030405-abcd  sales   failed   1.2 s         1  default  2025-01-02 03:04:05Z\n"
        ),
    )
    assert shown("runs", "--outcome", "succeeded") == (0, "no such runs\n")
    assert json.loads(shown("runs", "--json")[1])[0]["outcome"] == "failed"


def test_an_empty_list_tells_how_to_begin(shown: Shown) -> None:
    """The first thing that a new user sees."""
    assert shown("runs") == (0, "no runs yet; begin one: isolation run RECIPE\n")


@pytest.mark.usefixtures("finished")
def test_a_finished_run_is_shown_as_it_was_when_it_ended(shown: Shown, make: Make) -> None:
    """The summary; or the very document that `run --json` printed."""
    code, text = shown("show", "2025")
    assert code == 0
    assert text.startswith("sales  failed: step 'load' raised ValueError: no column\\x1b[31m\\nsecond line\n")
    assert json.loads(shown("show", "last", "--json")[1])["run_id"] == make.failed().run_id


def test_a_run_without_a_result_shows_what_is_known(shown: Shown, stores: Stores, make: Make) -> None:
    """Its controller may be at work, or dead."""
    stores.ledger.start(RUN, "sales", "default", make.result().digests, AT)
    assert shown("show", "last") == (
        0,
        (
            f"sales  still running\n\nrun {RUN}, submitted 2025-01-02 03:04:05Z, started 2025-01-02 03:04:05Z\n"
            f"  isolation logs {RUN} --follow    what it wrote\n"
        ),
    )
    for number, due_at in ((1, "2999-01-01T00:00:00.000Z"), (2, AT)):
        with stores.ledger.settling(RUN) as settling:
            settling.go_on(replace(make.result().attempts[0], number=number), AT, due_at)
        waits = f", next attempt not before {due_at[:10]} "
        assert (waits in shown("show", "last")[1]) == (due_at > AT), "one that is due is under way"
    stores.ledger.abandon(RUN, AT)
    assert "abandoned: whoever ran it died; nothing was merged" in shown("show", "last")[1]
    assert json.loads(shown("show", "last", "--json")[1])["state"] == "abandoned"


@pytest.mark.usefixtures("finished")
def test_a_run_compared_with_itself_is_identical(shown: Shown) -> None:
    """The exit code is the verdict's; a share that is none is refused."""
    assert shown("diff", "last", "last") == (0, f"{RUN}  {RUN}\nidentical: both came out the same\n")
    assert json.loads(shown("diff", "last", "last", "--json")[1])["verdict"] == "identical"
    assert shown("diff", "last", "last", "--tolerance", "2")[0] == 2
    assert shown("diff", "last", "gone")[0] == 2


@pytest.mark.usefixtures("finished")
def test_logs_are_shown_by_step_and_escaped(shown: Shown) -> None:
    """A log line is the easiest way for a recipe to reach a terminal."""
    assert shown("logs", "last") == (0, "extract | 12 rows\nload | ERROR bad\\x1b[2J\n")
    assert shown("logs", "last", "--step", "extract") == (0, "extract | 12 rows\n")
    assert shown("logs", "last", "--attempt", "2") == (
        2,
        f"isolation: the run {RUN} has no log of an attempt 2\nIt has 1.\n",
    )
    lines = [json.loads(line) for line in shown("logs", "last", "--follow", "--json")[1].splitlines()]
    assert [line["text"] for line in lines] == ["12 rows", "bad\x1b[2J"]


def test_the_context_is_changed_only_where_it_is_as_one_saw_it(shown: Shown) -> None:
    """And it can be read as it was; exit code 1 is an answer, 2 a mistake."""
    assert shown("context", "set", "a", "1", "--if-version", "0") == (0, "a = 1  (version 1)\n")
    code, text = shown("context", "set", "a", "2", "--if-version", "0")
    assert (code, text.splitlines()[0]) == (
        1,
        "isolation: the context key 'a' is at version 1, and should not be there; nothing was written",
    )
    changed = shown("context", "change", "--set", "b=2", "--set", "c=[3]", "--delete", "a", "--if", "a=1")
    assert changed == (0, "a deleted  (version 2)\nb = 2  (version 3)\nc = [3]  (version 4)\n")
    assert shown("context", "list", "--version", "3") == (0, "b  2\n")
    assert shown("context", "get", "a", "--version", "1") == (0, "1\n")
    assert [one["version"] for one in json.loads(shown("context", "history", "--before", "3", "--json")[1])] == [2, 1]
    assert shown("context", "history", "--until", "2020-01-01") == (0, "no history\n")
    (deleted, first) = json.loads(shown("context", "history", "a", "--json")[1])
    assert (deleted["existed"], deleted["before"], deleted["deleted"], deleted["value"]) == (True, 1, True, None)
    assert (first["existed"], first["before"], first["deleted"], first["value"]) == (False, None, False, 1)


WRONG_CHANGES = {
    "nothing to change": ((), "there is nothing to change"),
    "both set and deleted": (("--set", "a=1", "--delete", "a"), "the key 'a' is both set and deleted"),
    "no version": (("--set", "a=1", "--if", "a"), "'a' is not KEY=VERSION"),
    "no value": (("--set", "a"), "'a' is not KEY=VALUE"),
}


@pytest.mark.parametrize(("words", "said"), WRONG_CHANGES.values(), ids=WRONG_CHANGES)
def test_a_change_that_makes_no_sense_is_refused_with_a_hint(shown: Shown, words: tuple[str, ...], said: str) -> None:
    """Two lines: what is wrong, and what to do."""
    code, text = shown("context", "change", *words)

    assert (code, text.splitlines()[0]) == (2, f"isolation: {said}")
    assert len(text.splitlines()) == 2


def test_a_time_that_is_none_is_refused_with_an_example(shown: Shown) -> None:
    """Dates can be written in many ways, and this is one."""
    code, text = shown("context", "history", "--since", "yesterday")

    assert code == 2
    assert "'yesterday' is no day and no moment, such as 2026-01-31T08:30Z" in text


def test_the_context_by_hand(shown: Shown) -> None:
    """JSON where it is JSON, else text; every write stays in the history."""
    assert shown("context", "set", "sales.total", "42", "--who", "alice") == (0, "sales.total = 42  (version 1)\n")
    assert shown("context", "set", "zip", "01234") == (0, 'zip = "01234"  (version 2)\n')
    assert shown("context", "set", "zip", "1234", "--string") == (0, 'zip = "1234"  (version 3)\n')
    assert shown("context", "set", "offset", "-3") == (0, "offset = -3  (version 4)\n")
    assert shown("context", "get", "zip") == (0, "1234\n")
    assert json.loads(shown("context", "get", "sales.total", "--json")[1])["who"] == "alice"
    assert shown("context", "list", "s*") == (0, "sales.total  42\n")
    assert shown("context", "delete", "zip", "--who", "bob") == (0, "zip deleted  (version 5)\n")
    assert json.loads(shown("context", "list", "--json")[1]) == {"offset": -3, "sales.total": 42}
    code, text = shown("context", "history", "zip", "--limit", "1")
    assert (code, text.split()[:5], text.split()[-3:]) == (
        0,
        ["version", "at", "key", "before", "value"],
        ["(deleted)", "bob", "-"],
    )


def test_a_key_that_is_not_there_is_an_answer(shown: Shown) -> None:
    """Exit code 1, so that a script can ask."""
    shown("context", "set", "sales.total", "1")
    assert shown("context", "get", "sales.totl") == (
        1,
        "isolation: the context has no key 'sales.totl'\nDid you mean 'sales.total'?\n",
    )
    assert shown("context", "list", "x*") == (0, "no keys match x*\n")


def test_the_schema_is_the_published_one(shown: Shown) -> None:
    """Programs rely on it."""
    schema = json.loads(shown("schema")[1])
    assert schema["$id"] == "urn:isolation:result:1"
    assert set(schema["required"]) >= {"run_id", "outcome", "attempts"}


def test_every_outcome_can_be_filtered_by(shown: Shown) -> None:
    """A new outcome must not be forgotten here."""
    for outcome in Outcome:
        assert shown("runs", "--outcome", outcome.value)[0] == 0

"""What a person reads who gives wrong arguments: exact texts, exit code 2, nothing on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.cli import boundary, runs
from isolation.cli.app import parser_for, whole_parser

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.cli.parser import Parser


HELP = "`isolation run --help` shows how it is used."


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOLATION_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path / "state"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "no command is named\n`isolation --help` lists them."),
        ("context", "no command is named\n`isolation context --help` lists them."),
        ("rnu x", "there is no command 'isolation rnu'\nDid you mean 'run'?"),
        ("context gte x", "there is no command 'isolation context gte'\nDid you mean 'get'?"),
        ("fly", "there is no command 'isolation fly'\n`isolation --help` shows how it is used."),
        ("run", "an argument is missing: RECIPE\n`isolation run --help` shows how it is used."),
        ("run x --onyl a", "there is no option '--onyl'\nDid you mean '--only'?"),
        ("run x --zzz=3", "there is no option '--zzz'\n`isolation run --help` shows how it is used."),
        ("run x y", "'y' is one argument too many\n`isolation run --help` shows how it is used."),
        ("run x --set", "--set needs a value\n`isolation run --help` shows how it is used."),
        ("run x --set region", "'region' is not KEY=VALUE\nWrite it as in `--set region=eu`."),
        ("run x --set a=1 --set a=2", "the key 'a' is given twice\nGive each key to --set once."),
        ("run x --policy strct", "there is no policy 'strct'\nDid you mean 'strict'?"),
        ("run x --step-timeout soon", "--step-timeout cannot be 'soon'\nWrite it as in 90s or 10m."),
        ("run x --max-retries 1.5", "--max-retries: '1.5' is not a whole number of at most six digits\n" + HELP),
        ("runs --limit 0", "--limit: '0' is not a number from 1\n`isolation runs --help` shows how it is used."),
        ("runs --outcome failde", "'failde' is no outcome\nDid you mean 'failed'?"),
        ("show last", "there are no runs yet\nBegin one: `isolation run RECIPE`."),
        ("rerun --0 last", "there is no option '--0'\n`isolation rerun --help` shows how it is used."),
        ("logs nope", "there is no run 'nope' in this state folder\n`isolation runs` lists them."),
    ],
)
def test_a_wrong_line_is_answered_by_a_sentence_and_a_hint(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The form is the same for arguments as for every other error."""
    code = boundary.run(line.split())
    shown = capsys.readouterr()
    assert (code, shown.out, shown.err) == (2, "", f"isolation: {told}\n")


def test_hostile_arguments_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """What is pasted into a terminal may come from anybody."""
    boundary.run(["show", "\x1b[2J\u202e"])
    assert "\x1b" not in capsys.readouterr().err


def test_global_options_may_stand_after_the_command(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People add them at the end of the line."""
    other = state.parent / "other"
    assert boundary.run(["context", "set", "a", "1", "--state", str(other)]) == 0
    assert boundary.run([f"--state={other}", "context", "get", "a"]) == 0
    assert boundary.run(["context", "get", "a"]) == 1
    assert capsys.readouterr().out == "a = 1  (version 1)\n1\n"


def test_a_defect_of_ours_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for people who did nothing wrong; all of it for who debugs."""

    def fails(_word: str) -> Parser:
        raise KeyError("x\x1b")

    monkeypatch.setattr(boundary, "parser_for", fails)
    monkeypatch.delenv("ISOLATION_DEBUG", raising=False)
    assert boundary.run(["runs"]) == boundary.DEFECT
    assert capsys.readouterr().err == (
        "isolation: this is a defect of ours: KeyError: 'x\\x1b'\n"
        "Please report it, with what ISOLATION_DEBUG=1 in the environment adds to this.\n"
    )
    monkeypatch.setenv("ISOLATION_DEBUG", "1")
    boundary.run(["runs"])
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


def test_an_interrupt_outside_of_a_run_says_that_nothing_was_merged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run left is told by the run itself; here there is nothing to undo, and no traceback to read."""

    def interrupted(_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "runs", interrupted)
    code = boundary.run(["runs"])
    shown = capsys.readouterr()
    assert (code, shown.out) == (130, "")
    assert shown.err == "isolation: interrupted\nNothing was merged by it; `isolation runs` shows what is recorded.\n"


def test_every_command_has_an_example_in_its_help() -> None:
    """People copy examples; they do not read grammars."""

    def check(parser: Parser) -> None:
        for command in parser.commands.values():
            assert command.epilog, command.prog
            assert f"  {command.prog}" in command.epilog or "$(isolation" in command.epilog or command.commands
            check(command)

    check(whole_parser())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is written from the parser, so it cannot fall behind."""
    assert boundary.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("doctor", "history", "--fresh-context", "--only"):
        assert word in script


def test_a_commands_own_parser_is_the_whole_ones() -> None:
    """Only the module that brings the command is imported; what it takes and says must not differ."""
    whole = whole_parser()
    for name, command in whole.commands.items():
        assert parser_for(name).commands[name].format_help() == command.format_help()
    assert [*parser_for("no such command").commands] == [*whole.commands]

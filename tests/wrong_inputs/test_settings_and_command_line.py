"""What is wrong in the settings, or in the line that somebody typed."""

from __future__ import annotations

import pytest

from tests.wrong_inputs.conftest import OUTCOMES, Desk, Wrong, refuse_before_the_engine

USED = "`isolation run --help` shows how it is used."

SETTINGS = {
    "an unknown setting": Wrong(
        files={"../settings.toml": 'polcy = "strict"\n'},
        told="{here}/settings.toml: the setting 'polcy' is unknown",
        hint="Did you mean 'policy'?",
    ),
    "settings that are not TOML": Wrong(
        files={"../settings.toml": "policy: strict\n"},
        told="{here}/settings.toml:1: the settings file is not TOML: expected '=' after a key in a key/value pair",
        hint='Write each setting as in policy = "strict".',
    ),
    "a setting that is no text": Wrong(
        files={"../settings.toml": "policy = 3\n"},
        told="{here}/settings.toml: the setting 'policy' must be a text, not 3",
        hint='Write it as in policy = "...".',
    ),
    "no such settings": Wrong(
        environment={"ISOLATION_SETTINGS": "{here}/none.toml"},
        told="{here}/none.toml: there is no such settings file",
        hint="ISOLATION_SETTINGS names it; unset that, or write the file.",
    ),
    "an unknown policy by default": Wrong(
        environment={"ISOLATION_POLICY": "strickt"}, told="there is no policy 'strickt'", hint="Did you mean 'strict'?"
    ),
    "a state folder that is a file": Wrong(
        command=("--state", "{recipe}", "runs"),
        told="the state folder {recipe} is a file, and no folder",
        hint="Choose another folder with --state.",
        code=4,
    ),
}

LINES = {
    "an unknown command": Wrong(
        command=("runn", "{folder}"), told="there is no command 'isolation runn'", hint="Did you mean 'run'?"
    ),
    "an unknown command that is like none": Wrong(
        command=("xyzzy",),
        told="there is no command 'isolation xyzzy'",
        hint="`isolation --help` shows how it is used.",
    ),
    "no command": Wrong(command=(), told="no command is named", hint="`isolation --help` lists them."),
    "an unknown command of a group": Wrong(
        command=("context", "gett", "a"),
        told="there is no command 'isolation context gett'",
        hint="Did you mean 'get'?",
    ),
    "an unknown option": Wrong(
        command=("run", "{folder}", "--polcy", "strict"),
        told="there is no option '--polcy'",
        hint="Did you mean '--policy'?",
    ),
    "an option of Docker's": Wrong(
        command=("run", "{folder}", "--privileged"), told="there is no option '--privileged'", hint=USED
    ),
    "an argument too many": Wrong(
        command=("run", "{folder}", "again"), told="'again' is one argument too many", hint=USED
    ),
    "an argument too few": Wrong(command=("run",), told="an argument is missing: RECIPE", hint=USED),
    "an option without its value": Wrong(
        command=("run", "{folder}", "--policy"), told="--policy needs a value", hint=USED
    ),
    "a number that is none": Wrong(
        command=("runs", "--limit", "many"),
        told="--limit: 'many' is not a number from 1",
        hint="`isolation runs --help` shows how it is used.",
    ),
    "an unknown outcome": Wrong(command=("runs", "--outcome", "broken"), told="'broken' is no outcome", hint=OUTCOMES),
    "an unknown shell": Wrong(
        command=("completion", "tcsh"), told="SHELL cannot be 'tcsh'", hint="Known: bash, zsh, fish."
    ),
}


@pytest.mark.parametrize("wrong", SETTINGS.values(), ids=SETTINGS)
def test_a_wrong_setting_is_told_before_the_engine_is_asked(desk: Desk, wrong: Wrong) -> None:
    """Nothing can have been started, and nothing at all is left in the state folder."""
    refuse_before_the_engine(desk, wrong)


@pytest.mark.parametrize("wrong", LINES.values(), ids=LINES)
def test_a_wrong_line_is_told_before_the_engine_is_asked(desk: Desk, wrong: Wrong) -> None:
    """Nothing can have been started, and nothing at all is left in the state folder."""
    refuse_before_the_engine(desk, wrong)

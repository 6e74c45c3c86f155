"""Row 62: whatever a recipe can put into a record is shown as text. Every view that people have is asked."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category

import pytest

from isolation.errors import IsolationError
from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from isolation.model.run import Result
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

COMMAND = str(Path(sys.executable).with_name("isolation"))
PIECES = (
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[1;1H",
    "\x1b[38;5;200m",
    "\x1b]8;;http://a/\x1b\\",
    "\x9b31m",
    "back\b\b\b\b",
    "over\rwritten",
    "\u202egpj.exe\u202c",
    "\u2066isolated\u2069",
    "zero\u200bwidth\ufeff",
    "\u2028line\u2029",
    "next\x85line",
    "\U000e0041tag",
    "\x7f",
)
HOSTILE = "".join(PIECES)
OUR_PAINT = re.compile(r"\x1b\[(0|1|2|3[0-7])?(;(0|1|2|3[0-7]))*m")
LIVE = re.compile(r"\x1b\[(\?25[lh]|2K|\d*A|\d*m|0?m|[0-9;]*m)|\r")
WIPED = "\x1b[2K"
"""The end of the live list, where there was one: it is shown of what takes a while, and what is refused may, too."""

EVERYWHERE = """
import json, logging, os, sys
from src.core.logger import get_logger
def run(context, params):
    hostile = json.loads(params["hostile"])
    print(hostile)
    print(hostile, file=sys.stderr)
    sys.stdout.buffer.write(b"\\xff\\xfe\\0" + hostile.encode("utf-16") + b"\\n")
    logging.addLevelName(45, hostile)
    get_logger(hostile).log(45, hostile)
    context.set("value", {hostile: [hostile]}, who=hostile)
    context.set("text", hostile)
    context.get(hostile)
    os.makedirs("/scratch/artifacts")
    open("/scratch/artifacts/" + hostile.replace("/", "")[:60], "w").close()
    if params["fail"]:
        kind = type(hostile, (Exception,), {"__module__": hostile})
        raise kind(hostile + "\\n" + hostile) from ValueError(hostile)
    return {hostile: hostile}
"""


@pytest.fixture(scope="module")
def told(arena: Arena) -> dict[str, Result]:
    """Run what succeeds, what fails, and what is in conflict."""
    args = {"hostile": json.dumps(HOSTILE), "fail": False}
    arena.controller.stores.contexts.set("value", "before", HOSTILE, "2025-01-02T03:04:05.678Z")
    succeeded = arena.attack(EVERYWHERE, args=args)
    failed = arena.attack(EVERYWHERE, args={**args, "fail": True})
    contexts = arena.controller.stores.contexts
    conflict = arena.attack(
        EVERYWHERE, args=args, during=lambda: contexts.set("value", HOSTILE, HOSTILE, "2025-01-02T03:04:05.678Z")
    )
    told = {"succeeded": succeeded, "failed": failed, "conflict": conflict}
    assert {name: result.outcome.value for name, result in told.items()} == {name: name for name in told}
    return told


VIEWS = {
    "show": ("show", "{run}"),
    "show as JSON": ("show", "{run}", "--json"),
    "attestation": ("show", "{run}", "--attestation"),
    "logs": ("logs", "{run}"),
    "logs as JSON": ("logs", "{run}", "--json"),
    "runs": ("runs",),
    "runs as JSON": ("runs", "--json"),
    "rerun": ("rerun", "{run}"),
    "rerun as JSON": ("rerun", "{run}", "--json"),
    "context": ("context", "list"),
    "context as JSON": ("context", "list", "--json"),
    "value": ("context", "get", "value"),
    "text": ("context", "get", "text"),
    "history": ("context", "history"),
    "history as JSON": ("context", "history", "--json"),
    "no such key": ("context", "get", HOSTILE),
    "no such run": ("show", HOSTILE),
    "no such option": ("runs", f"--{HOSTILE}"),
    "no such command": (HOSTILE,),
    "no such outcome": ("runs", "--outcome", HOSTILE),
    "no such policy": ("policy", "show", HOSTILE),
    "no such recipe": ("run", f"/nowhere/{HOSTILE}"),
}


def seen_on_a_terminal(arena: Arena, *arguments: str) -> str:
    """Run a command as a person does, and return all that reached the terminal, errors too."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"} | {"COLUMNS": "200"}
    command = [COMMAND, "--state", str(arena.state), *arguments]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = bytearray()
        with suppress(OSError):  # the other end is closed, pty(7)
            while piece := os.read(ours, 2**16):
                seen += piece
        os.close(ours)
    assert process.returncode in {0, 1, 2}, seen[-2000:]
    return seen.decode().replace("\r\n", "\n")


def seen_in_a_pipe(arena: Arena, *arguments: str) -> str:
    command = [COMMAND, "--state", str(arena.state), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode in {0, 1, 2}, done.stderr[-2000:]
    return (done.stdout + done.stderr).decode()


def is_plain(text: str) -> bool:
    """Tell whether nothing in it does anything to a terminal but print."""
    return all(char == "\n" or category(char) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for char in text)


ENDINGS = ("succeeded", "failed", "conflict")
CASES = [(view, ending) for view, arguments in VIEWS.items() for ending in ENDINGS[: 3 if "{run}" in arguments else 1]]


@pytest.mark.slow
@pytest.mark.parametrize(("view", "ending"), CASES, ids=map(" of ".join, CASES))
def test_row_062_no_view_lets_a_recipe_speak_to_the_terminal(
    arena: Arena, told: dict[str, Result], view: str, ending: str
) -> None:
    """No escape sequence, no override of direction, no line of its own: on a terminal, and in a pipe to one."""
    arguments = [part.replace("{run}", told[ending].run_id) for part in VIEWS[view]]

    on_terminal = seen_on_a_terminal(arena, *arguments)
    in_pipe = seen_in_a_pipe(arena, *arguments)

    assert is_plain((LIVE if arguments[0] in {"run", "rerun"} else OUR_PAINT).sub("", on_terminal))
    assert not [piece for piece in PIECES if piece in on_terminal]
    assert is_plain(in_pipe)


def test_row_062_what_was_written_is_kept_as_it_was(arena: Arena, told: dict[str, Result]) -> None:
    """Escaping is for views: who wants to know what a recipe really wrote must be able to."""
    result = told["succeeded"]
    lines = [*arena.controller.stores.logs.read(result.run_id)]

    assert HOSTILE in {line.text for line in lines if line.stream == "stdout"}
    assert HOSTILE in {line.text for line in lines if line.stream == "stderr"}
    assert ("log", HOSTILE, HOSTILE[:50]) in {(line.stream, line.text, line.level) for line in lines}
    assert result.changes.set["value"] == {HOSTILE: [HOSTILE]}
    assert result.attempts[0].steps[0].outputs == {HOSTILE: HOSTILE}
    assert any("was not kept: not a plain name" in line.text for line in lines)


def test_row_062_what_a_false_runner_says_of_itself_is_shown_as_text(treason: Attack, arena: Arena) -> None:
    """Causes, reasons, names and complaints are its word too."""
    result = treason(
        """
        import json
        def run(channel, plan):
            hostile = json.loads(plan["steps"][0]["args"]["hostile"])
            channel.send_json(channel.contract.STEP_STARTED, {"step": 0, "try": 1})
            error = {"type": hostile[:200], "message": hostile, "traceback": hostile + "\\n" + hostile}
            ended = {"step": 0, "outcome": "failed", "tries": 7, "cause": hostile[:300], "error": error}
            channel.send_json(channel.contract.STEP_ENDED, ended | {"reads": [hostile], "outputs": {hostile: 1}})
            refused = {"name": hostile, "size": None, "refused": hostile[:300]}
            channel.send_json(channel.contract.ARTIFACT, refused)
            channel.send_json(99, hostile)
        """,
        args={"hostile": json.dumps(HOSTILE)},
    )

    assert result.outcome is Outcome.BAD_ANSWER
    for arguments in (("show", result.run_id), ("logs", result.run_id), ("show", result.run_id, "--json")):
        assert is_plain(OUR_PAINT.sub("", seen_on_a_terminal(arena, *arguments)))


RECIPES = {
    "an unknown key": '"{}": 1\nsteps: []',
    "a name": 'metadata: {{name: "{}"}}\nsteps: [{{name: a, module: m, function: f}}]',
    "a step's name": 'steps: [{{name: "{}", module: m, function: f}}]',
    "a module": 'steps: [{{name: a, module: "{}", function: f}}]',
    "a dependency": 'steps: [{{name: a, module: m, function: f, depends_on: ["{}"]}}]',
    "a requirement": 'metadata: {{name: a, requirements: ["{}"]}}\nsteps: [{{name: a, module: work, function: run}}]',
    "a file": 'files: ["{}"]\nsteps: [{{name: a, module: work, function: run}}]',
    "a tag": "steps: !{} a",
    "an anchor": "steps: &{} a",
}


@pytest.mark.slow
@pytest.mark.parametrize("where", RECIPES)
def test_row_062_an_error_about_a_recipe_quotes_it_as_text(arena: Arena, where: str) -> None:
    """Its file is hostile before it runs: in what it says, and in what its folder is called."""
    folder = arena.recipe("def run(context, params): ...").rename(arena.state.parent / f"named {HOSTILE[:9]}{where}")
    escaped = "".join(
        f"\\U{ord(char):08x}" if not char.isascii() or not char.isprintable() else char for char in HOSTILE
    )
    text = RECIPES[where].format(escaped.replace('"', "") if '"' in RECIPES[where] else HOSTILE[-30:])
    (folder / "recipe.yaml").write_text(text)
    with pytest.raises(IsolationError):
        arena.controller.run(folder, policy=arena.policy())

    told = seen_on_a_terminal(arena, "run", str(folder))

    assert told.rpartition(WIPED)[2].startswith("isolation: ")
    assert is_plain(LIVE.sub("", told))


LOOKS = (
    ("package", "{folder}"),
    ("package", "{folder}", "--json"),
    ("package", "{folder}", "--output", "{folder}/manifest.json"),
    ("policy", "show", "{folder}/policy.json"),
    ("policy", "show", "{folder}/policy.json", "--json"),
    ("policy", "check", "{folder}/policy.json"),
)


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_row_062_a_recipe_that_is_only_looked_at_speaks_no_more(arena: Arena, look: tuple[str, ...]) -> None:
    """Its head, its arguments and its files' names are its author's words, before anything has run."""
    folder = arena.recipe("def run(context, params): ...")
    (folder / f"data {HOSTILE.replace('/', '')[:50]}.csv").write_text("1")
    head = {"name": "plain", "version": HOSTILE, "description": HOSTILE, "author": HOSTILE, "tags": [HOSTILE]}
    step = {"name": "a", "module": "work", "function": "run", "description": HOSTILE, "args": {HOSTILE: HOSTILE}}
    recipe = {"metadata": head, "config": {HOSTILE: HOSTILE}, "files": ["*.csv"], "steps": [step]}
    (folder / "recipe.yaml").rename(folder / "recipe.json").write_text(json.dumps(recipe))
    policy = {"name": "plain", "description": HOSTILE, "context": {"reads": [HOSTILE]}}
    (folder / "policy.json").write_text(json.dumps(policy, ensure_ascii=False))
    arguments = [part.replace("{folder}", str(folder)) for part in look]

    seen = (OUR_PAINT.sub("", seen_on_a_terminal(arena, *arguments)), seen_in_a_pipe(arena, *arguments))

    assert not [text for text in seen if text.startswith("isolation: ")], "it was refused for another reason"
    assert [*map(is_plain, seen)] == [True, True]

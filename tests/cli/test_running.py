"""`isolation run` and its like as their users meet them: processes, on the real engine."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from isolation.model.document import result_schema

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

ISOLATION = Path(sys.executable).with_name("isolation")
RECIPE = """
metadata: {name: small}
steps:
  - {name: count, module: count, function: run}
"""
COUNTS = """
from pathlib import Path

def run(ctx, params=None):
    print("counting \\x1b[2J")
    ctx.set("small.count", ctx.get("small.step", 1) + 1)
"""
WAITS = """
import time

def run(ctx, params=None):
    print("waiting", flush=True)
    time.sleep(50)
"""
FAILS = """
def run(ctx, params=None):
    raise ValueError("no\\x1b[31m")
"""


class Shell:
    """A folder with one recipe and one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")},
            "ISOLATION_STATE": str(folder / "state"),
            "ISOLATION_POOL": os.environ["ISOLATION_POOL"],
            "XDG_CONFIG_HOME": str(folder),
            "TERM": "xterm",
        }

    def write(self, scriptlet: str) -> None:
        """Write the recipe's one step."""
        (self.folder / "count.py").write_text(scriptlet, encoding="utf-8")

    def start(
        self, *arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [ISOLATION, *arguments], cwd=self.folder, env=self.environment, stdout=stdout, stderr=stderr, text=True
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; returns exit code, stdout, stderr."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def shell(tmp_path: Path, maybe_pool: dict[str, str]) -> Shell:
    shell = Shell(tmp_path)
    shell.environment |= maybe_pool
    return shell


def test_a_run_prints_one_json_object_of_the_published_schema(shell: Shell) -> None:
    """And nothing else, anywhere: stderr is no terminal here."""
    shell.write(COUNTS)
    code, out, err = shell.run("run", ".", "--set", "small.step=4", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    Draft202012Validator(result_schema()).validate(document)
    assert document["changes"]["set"] == {"small.count": 5}
    assert shell.run("context", "get", "small.count") == (0, "5\n", "")
    assert json.loads(shell.run("rerun", "last", "--json")[1])["changes"]["set"] == {"small.count": 5}


def test_a_run_without_a_terminal_tells_its_steps_in_lines(shell: Shell) -> None:
    """Progress goes to stderr, the summary to stdout; the recipe's text nowhere raw."""
    shell.write(COUNTS)
    code, out, err = shell.run("run", ".")
    assert code == 0
    assert out.startswith("small  succeeded in ")
    assert "step count ... succeeded in " in err
    assert shell.run("logs", "last") == (0, "count | counting \\x1b[2J\n", "")
    assert shell.run("run", ".", "--quiet")[2] == ""


def test_a_recipe_that_fails_exits_1_and_merges_nothing(shell: Shell) -> None:
    """Its failure is a result."""
    shell.write(FAILS)
    code, out, _err = shell.run("run", ".")
    assert code == 1
    assert "small  failed: step 'count' raised ValueError: no\\x1b[31m\n" in out
    assert shell.run("context", "list")[1] == "no keys\n"


def test_a_terminal_shows_a_run_that_lasts_live_and_then_the_summary(shell: Shell) -> None:
    """A real terminal; whatever the recipe writes, no clear-screen of its own reaches it."""
    shell.write(COUNTS + "    import time; time.sleep(2)\n")
    ours, theirs = pty.openpty()
    process = shell.start("run", ".", stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    assert process.wait(30) == 0
    assert b"attempt 1" in seen
    assert b"succeeded" in seen
    assert b"\x1b[2J" not in seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_interrupts_a_run_leaves_no_container(shell: Shell, number: signal.Signals) -> None:
    """Exit code 130, the container gone, the context as it was."""
    shell.write(WAITS)
    process = shell.start("run", ".")
    _await_log(shell)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "was interrupted\n" in err
    run = json.loads(shell.run("runs", "--json")[1])[0]
    left = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label=isolation.run={run['run_id']}"],  # noqa: S607 - on PATH
        capture_output=True,
        text=True,
        check=True,
    )
    assert left.stdout == ""
    assert run["outcome"] == "cancelled"


def test_artifacts_are_copied_and_never_over_another_file(shell: Shell) -> None:
    """The same file again is in order; another one stays, and the exit code says so."""
    shell.write('def run(ctx, params=None):\n    ctx.artifact("a.txt").write_text("text")\n')
    copied = shell.folder / "out" / "a.txt"
    for _ in range(2):
        assert shell.run("run", ".", "--artifacts", "out")[0] == 0
    assert copied.read_text(encoding="utf-8") == "text"
    copied.write_text("mine", encoding="utf-8")
    code, out, err = shell.run("run", ".", "--artifacts", "out", "--quiet")
    assert (code, copied.read_text(encoding="utf-8")) == (4, "mine")
    assert out.startswith("small  succeeded in ")
    assert "artifacts were not copied to out: a.txt: a file of that name is there already\n" in err


def test_who_runs_a_recipe_says_how_often_and_how_long_its_steps_are_tried(shell: Shell) -> None:
    """Over what the recipe says; what comes of it is recorded with the package, so that a rerun does the same."""
    shell.write(FAILS)
    code, out, _err = shell.run("run", ".", "--max-retries", "2", "--retry-delay", "1ms", "--json")
    assert (code, [step["tries"] for step in json.loads(out)["attempts"][0]["steps"]]) == (1, [3])
    assert json.loads(shell.run("rerun", "last", "--json")[1])["attempts"][0]["steps"][0]["tries"] == 3

    shell.write(WAITS)
    code, out, _err = shell.run("run", ".", "--step-timeout", "200ms", "--json")
    assert (code, json.loads(out)["attempts"][0]["cause"]) == (1, "step:count:timeout")


def test_a_step_that_does_not_exist_is_refused(shell: Shell) -> None:
    """`--only typo` would otherwise run nothing, and succeed."""
    shell.write(COUNTS)
    assert shell.run("run", ".", "--only", "cuont") == (
        2,
        "",
        "isolation: --only names 'cuont', which is no step of 'small'\nDid you mean 'count'?\n",
    )


def test_an_engine_that_is_not_there_exits_3(shell: Shell) -> None:
    """With its address, and what to do."""
    shell.write(COUNTS)
    assert shell.run("run", ".", "--engine", "unix:///nowhere.sock") == (
        3,
        "",
        (
            "isolation: the Docker Engine at unix:///nowhere.sock does not answer\n"
            "Start it, or name another with --engine; `isolation doctor` shows what is missing.\n"
        ),
    )


def test_a_reader_that_leaves_is_no_error(shell: Shell) -> None:
    """`isolation runs | head` ends quietly."""
    process = shell.start("schema")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_the_doctor_finds_this_host_fit(shell: Shell) -> None:
    """The same engine runs the other tests."""
    code, out, _err = shell.run("doctor", "--json")
    assert code == 0
    assert {check["name"] for check in json.loads(out)} >= {"engine", "runner image", "seccomp", "state folder", "uv"}


def test_a_package_is_listed_without_an_engine(shell: Shell) -> None:
    """What would be taken along, and its name."""
    shell.write(COUNTS)
    code, out, err = shell.run("package", ".", "--engine", "unix:///nowhere.sock")
    assert (code, err) == (0, "")
    assert out.startswith("small  1 step, digest ")
    assert "\nmodules\n  count.py " in out


def _await_log(shell: Shell) -> None:
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        if "waiting" in shell.run("logs", "last")[1]:
            return
    pytest.fail("the recipe did not start within 30 s")

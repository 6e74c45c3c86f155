"""What the documents show is what happens: every command in them is run, every snippet is the real file or runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.packaging.builtin import BUILTIN
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.storage.blobs import BlobStore
from tests.runner.conftest import imported

if TYPE_CHECKING:
    from tests.postgresql import Server


ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
TESTING = ROOT / "docs/testing-scriptlets.md"
LIBRARY = ROOT / "docs/library.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_FOLDER = "/tmp/quickstart"  # noqa: S108 - what the README shows; the test puts another in its place
WHOLE_SUITE = "scripts/test"
"""The one command that no test can run: it runs the tests. CI does."""


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(text) if found == language]


def environment(state: Path) -> dict[str, str]:
    # pytest looks through the folders of all sessions of this machine, in which others come and go, and stumbles there.
    return {**os.environ, "ISOLATION_STATE": str(state), "PYTEST_DEBUG_TEMPROOT": str(state.parent)}


def call(command: str, state: Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=environment(state),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def call_line(line: str, state: Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Carry out a line of a document, whose exit code is the one that stands behind it."""
    command, _, code = line.partition("  # exit code ")
    done = call(command, state, folder)
    assert done.returncode == int(code or 0), f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def said_by(program: str, state: Path) -> str:
    """Run a program of a document, and return what it printed."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment(state), capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.engine
def test_every_command_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    """In their order, in one state folder, as a newcomer would type them."""
    commands = [line for block in blocks(README, "bash") for line in block.splitlines()]
    assert commands[:2] == ["scripts/demo", WHOLE_SUITE]

    for command in commands:
        if command == WHOLE_SUITE:
            continue
        done = call(command.replace(SHOWN_FOLDER, str(tmp_path / "out")), tmp_path / "state")
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8").startswith("# Temperatures\n")


@pytest.mark.engine
def test_every_command_of_the_page_on_replays_does_what_it_says(tmp_path: Path) -> None:
    """With the exit code that stands behind it, and the lines that the page shows of the last one."""
    page = (ROOT / "docs/replay.md").read_text(encoding="utf-8")
    (commands,), (shown,) = blocks(page, "bash"), blocks(page, "text")

    said = ""
    for line in commands.splitlines():
        done = call_line(line, tmp_path / "state")
        said = done.stdout

    assert [line for line in shown.splitlines() if line not in said] == []


PAGES = {"bill": [], "caching": [], "performance": [], "queue": [], "storage": ["postgresql://isolation@db/isolation"]}


@pytest.mark.engine
@pytest.mark.postgresql
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_does_what_it_says(page: str, tmp_path: Path, postgresql: Server) -> None:
    """In their order, with the exit code that stands behind it; a database of ours is in the place of the shown one."""
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    for shown in PAGES[page]:
        assert shown in text
        text = text.replace(shown, postgresql.url())

    for line in "".join(blocks(text, "bash")).splitlines():
        call_line(line, tmp_path / "state")


@pytest.mark.engine
def test_the_page_on_batches_does_what_it_says(tmp_path: Path) -> None:
    """Its commands with their exit codes, its inputs are those of the recipe, and its programs run."""
    page = (ROOT / "docs/batches.md").read_text(encoding="utf-8")
    (commands,), (shown,) = blocks(page, "bash"), blocks(page, "text")
    assert shown == (ROOT / "recipes/batch/readings.jsonl").read_text(encoding="utf-8")

    printed = ""
    for line in commands.splitlines():
        done = call_line(line, tmp_path / "state")
        printed = done.stdout
    assert printed == "14.0\n"

    said = [said_by(program, tmp_path / "state") for program in blocks(page, "python")]
    assert said == [
        "".join(f"{n} succeeded {{'celsius.{city}': 10.0}}\n" for n, city in enumerate(("Oslo", "Lisbon", "Graz"), 1)),
        "{'celsius.Graz': 10.0}\n",
    ]


@pytest.mark.engine
def test_the_page_on_templates_does_what_it_says(tmp_path: Path) -> None:
    """Its commands with their exit codes and what they tell, in a copy of the example; and its program runs."""
    page = (ROOT / "docs/templates.md").read_text(encoding="utf-8")
    (commands,), (told, printed) = blocks(page, "bash"), blocks(page, "text")
    shutil.copytree(ROOT / "recipes/templated", tmp_path / "recipes/templated")
    (tmp_path / "recipes/templated/recipe.yaml").unlink()
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])

    errors = ""
    for line in commands.splitlines():
        done = call_line(line, tmp_path / "state", folder=tmp_path)
        errors += done.stderr
    assert told in errors
    made = (tmp_path / "recipes/templated/recipe.yaml").read_text(encoding="utf-8")
    assert made == (ROOT / "recipes/templated/recipe.yaml").read_text(encoding="utf-8")

    (program,) = blocks(page, "python")
    own = environment(tmp_path / "state") | {"PYTHONPATH": str(ROOT / "framework0")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=own, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == printed


@pytest.mark.engine
def test_the_program_of_the_page_on_the_network_prints_what_the_page_says(tmp_path: Path) -> None:
    """A server, a recipe that reaches it, and what is on record."""
    page = (ROOT / "docs/network.md").read_text(encoding="utf-8")
    (program,), (shown,) = blocks(page, "python"), blocks(page, "text")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(tmp_path / "state") | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (shown, 0), done.stderr


@pytest.mark.engine
def test_the_page_on_scriptlets_does_what_it_says(tmp_path: Path) -> None:
    """Its commands print what it shows, and its scriptlets log, and refuse, in the words that stand there."""
    page = LIBRARY.read_text(encoding="utf-8")
    (commands,), (log, refused, printed) = blocks(page, "bash"), blocks(page, "text")
    said = ""
    for line in commands.splitlines():
        done = call(line.replace("/tmp/countries", str(tmp_path / "countries")), tmp_path / "state")  # noqa: S108
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said = done.stdout
    assert said == printed

    (tmp_path / "greeting").mkdir()
    (tmp_path / "greeting/greeting.py").write_text(blocks(page, "python")[0])
    recipe = tmp_path / "greeting/recipe.yaml"
    recipe.write_text(blocks(page, "yaml")[0])
    assert call(f".venv/bin/isolation run {tmp_path}/greeting", tmp_path / "state").returncode == 0
    assert call(".venv/bin/isolation logs last", tmp_path / "state").stdout == log
    recipe.write_text(blocks(page, "yaml")[0].replace("{name: Ada, times: 2}", "{nmae: Ada, times: 50}"))
    assert refused.strip() in call(f".venv/bin/isolation run {tmp_path}/greeting", tmp_path / "state").stdout


def test_the_pipeline_that_the_page_on_scriptlets_shows_is_in_order(tmp_path: Path) -> None:
    """It needs a database and a bucket; its steps can be found, and their args are what the scriptlets declare."""
    (tmp_path / "recipe.yaml").write_text(blocks(LIBRARY.read_text(encoding="utf-8"), "yaml")[1])
    loaded = load_recipe(tmp_path)
    recipe = loaded.recipe.model_copy(update={"requirements": ()})  # no index is asked here
    pack(loaded, blobs=BlobStore(tmp_path / "blobs"), recipe=recipe)
    with imported() as load:
        framework = load("scriptlets.framework")
        for step in recipe.steps:
            scriptlet = framework.find(load(step.module), step.function)()
            assert framework.check_params(scriptlet, step.args)
            assert load("scriptlets._etl.rules").read_rules(step.args.get("transformation_rules", []), None)[1] == []


def test_the_page_on_scriptlets_names_every_one_and_every_option() -> None:
    """What is not in its tables, nobody finds."""
    page = LIBRARY.read_text(encoding="utf-8")
    with imported() as load:
        for module, names in BUILTIN.items():
            for name in names:
                params = getattr(load(module), name).params
                options = params.get("connection_params", params.get("load_options", {})).get("properties", {})
                missing = [word for word in (name, *params, *options) if f"`{word}`" not in page]
                assert missing == [], name
        for rule in [*load("scriptlets._etl.rules")._RULES, "join"]:
            assert f"| `{rule}: " in page
        for op in load("scriptlets._etl.conditions").OPERATORS:
            assert f"`{op}`" in page
        for word in load("scriptlets._params")._WORDS:
            assert f"`{word}`" in page


@pytest.mark.engine
def test_the_programs_of_the_page_on_applications_run(tmp_path: Path) -> None:
    """Each in an interpreter of its own, and each prints what the page tells of."""
    page = (ROOT / "docs/applications.md").read_text(encoding="utf-8")
    page = page.replace("/tmp/application", str(tmp_path / "own"))  # noqa: S108 - what the page shows
    said = [said_by(program, tmp_path / "state") for program in blocks(page, "python")]
    assert said == [
        "10.0 ('celsius.Oslo',)\n",
        "[True, True, True] {'celsius.Oslo': 10.0, 'celsius.Lisbon': 20.0, 'celsius.Graz': 15.0}\n",
        "[('reading.city', 'application'), ('reading.fahrenheit', 'application'), ('celsius.Oslo', 'convert')]\n",
    ]


@pytest.mark.engine
def test_every_command_of_the_page_on_testing_scriptlets_does_what_it_says(tmp_path: Path) -> None:
    """Its tests are green, in this process and in containers."""
    (commands,) = blocks(TESTING.read_text(encoding="utf-8"), "bash")
    for line in commands.splitlines():
        done = call(line.replace("/tmp/plugins", str(tmp_path / "plugins")), tmp_path / "state")  # noqa: S108
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_the_programs_of_the_page_on_testing_scriptlets_run(tmp_path: Path) -> None:
    """The test beside the example, and the program that is to be debugged, which says that it is not isolated."""
    test, program = blocks(TESTING.read_text(encoding="utf-8"), "python")
    shutil.copytree(ROOT / "recipes/tested", tmp_path / "tested")
    (tmp_path / "tested/test_shown.py").write_text(test)
    done = call(f".venv/bin/pytest -q -p no:cacheprovider {tmp_path}/tested/test_shown.py", tmp_path / "state")
    assert (done.returncode, done.stdout.split(" in ")[0].split()[-2:]) == (0, ["2", "passed"]), done.stdout

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(tmp_path / "state"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "10.0 (\"the recipe 'celsius' ran in this process, not isolated: nothing confined it\",)\n"
    assert "NotIsolatedWarning" in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.engine
def test_every_command_of_the_page_on_the_pool_does_what_it_says(tmp_path: Path) -> None:
    """With a pool of the page's own, which is there from the first run to the last line."""
    (commands,) = blocks((ROOT / "docs/pool.md").read_text(encoding="utf-8"), "bash")
    own = {"XDG_RUNTIME_DIR": str(tmp_path), "ISOLATION_POOL": "5m", "ISOLATION_STATE": str(tmp_path / "state")}
    for line in commands.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            cwd=ROOT,
            env=os.environ | own,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert [*(tmp_path / "isolation" / "pool").iterdir()] == []


@pytest.mark.engine
def test_a_second_demo_does_no_set_up_work(tmp_path: Path) -> None:
    """Set-up stages speak only when they have something to do; whatever was missing, the first call has done."""
    call("scripts/demo", tmp_path)
    second = call("scripts/demo", tmp_path)

    assert second.returncode == 0, second.stderr
    assert [line for line in second.stderr.splitlines() if line.startswith("- ")] == []
    assert "quickstart  succeeded" in second.stdout


@pytest.mark.engine
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    """In an interpreter of its own, as in a program of the reader's."""
    _, program = blocks(README, "python")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("succeeded ")

"""The testing kit as its users meet it: a project of their own, and pytest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTLET = """
import os


class Double:
    def run(self, context, params):
        context.set("out", 2 * params["of"])
        return {"pid": os.getpid(), "where": os.getcwd()}


def double(context, params):
    return {"secret": context.secret("KEY").upper(), "is_on": context.is_feature_enabled("fast"), **context.config}


def help_me():
    return "really"


def ask(context, params):
    import helper

    return {"said": help_me(), "helped": helper.HELP}


def forget(context, params):
    context.delete("out")


def fail(context, params):
    raise ValueError("on purpose")
"""


def in_a_project(folder: Path, test: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run tests of a user's, in a process of their own; what is installed with us is there by itself."""
    (folder / "scriptlet_mine.py").write_text(SCRIPTLET)
    (folder / "helper.py").write_text("HELP = 1\n")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n" + environment.pop("ini", ""))
    (folder / "test_mine.py").write_text(test)
    return pytest_in(folder, *arguments, **environment)


def pytest_in(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def counts(done: subprocess.CompletedProcess[str]) -> str:
    """Return pytest's own count: what is left of its last line without the time."""
    return re.sub(r" in .*", "", done.stdout.rstrip().rpartition("\n")[2])


@pytest.mark.slow
def test_a_scriptlet_is_run_with_what_it_is_given(tmp_path: Path) -> None:
    """In this process, unless something else is said; a module beside the test is found by its name."""
    test = """
import os

def test_class(run_scriptlet, context):
    ran = run_scriptlet("scriptlet_mine:Double", {"of": 21})
    ran.assert_changed({"out": 42})
    assert ran.outputs["pid"] == os.getpid()
    assert (context.get("out"), ran.succeeded, ran.error, ran.artifacts) == (42, True, None, {})

def test_function(run_scriptlet):
    secrets, config, features = {"KEY": "a-long-secret"}, {"a": 1}, {"fast": True}
    ran = run_scriptlet("scriptlet_mine:double", secrets=secrets, config=config, features=features)
    assert ran.outputs == {"secret": "A-LONG-SECRET", "is_on": True, "a": 1}

def test_failure(run_scriptlet):
    ran = run_scriptlet("scriptlet_mine:fail")
    ran.assert_failed("ValueError", "purpose")
    assert (ran.outcome, ran.outputs, ran.error.step) == ("failed", None, "fail")

def test_builtin(run_scriptlet, context):
    context.set("etl.rows", [{"a": 1}])
    run_scriptlet("scriptlets.loaders:ContextLoader", {"target_url": "kept"}).assert_changed(
        {"kept": [{"a": 1}]}, deleted=["etl.rows"]
    )
"""
    done = in_a_project(tmp_path, test)

    assert counts(done) == "4 passed", done.stdout


@pytest.mark.slow
def test_a_class_that_the_test_has_is_called_as_it_is(tmp_path: Path) -> None:
    """With all that the test put in its place; it may even be the test's own."""
    test = """
import helper
import scriptlet_mine

def test_patched(run_scriptlet, monkeypatch):
    monkeypatch.setattr(scriptlet_mine, "help_me", lambda: "so it seems")
    monkeypatch.setattr(helper, "HELP", 2)
    assert run_scriptlet(scriptlet_mine.ask).outputs == {"said": "so it seems", "helped": 2}
    assert run_scriptlet("scriptlet_mine:ask").outputs == {"said": "really", "helped": 1}

def test_own(run_scriptlet):
    class Own:
        def __init__(self, what):
            self.what = what
        def run(self, context, params):
            return {"what": self.what}
    assert run_scriptlet(Own("this")).outputs == {"what": "this"}
"""
    done = in_a_project(tmp_path, test)

    assert counts(done) == "2 passed", done.stdout


@pytest.mark.slow
def test_what_is_wrong_is_shown(tmp_path: Path) -> None:
    """Which keys differ, what the step died of and where, and what to do about what cannot be run."""
    test = """
def test_other(run_scriptlet):
    run_scriptlet("scriptlet_mine:Double", {"of": 21}).assert_changed({"out": 43})

def test_deleted(run_scriptlet, context):
    context.set("out", 1)
    run_scriptlet("scriptlet_mine:forget").assert_changed({})

def test_died(run_scriptlet):
    run_scriptlet("scriptlet_mine:fail").assert_changed({})

def test_lived(run_scriptlet):
    run_scriptlet("scriptlet_mine:Double", {"of": 1}).assert_failed()

def test_another(run_scriptlet):
    run_scriptlet("scriptlet_mine:fail").assert_failed("KeyError")

def test_typo(run_scriptlet):
    run_scriptlet("scriptlet_mine:Dobule")

def test_nothing(run_scriptlet):
    run_scriptlet(5)
"""
    done = in_a_project(tmp_path, test)

    assert counts(done) == "7 failed"
    said = done.stdout
    assert "{'out': 42} != {'out': 43}" in said
    assert "['out'] == []" in said
    assert "the run ended as failed" in said
    assert re.search(r'scriptlet_mine\.py", line \d+, in fail', said)
    assert "the run succeeded; it changed {'out': 2}" in said
    assert "another error was expected: KeyError" in said
    assert re.search(r"^E +Did you mean 'Double'\?$", said, re.MULTILINE)
    assert re.search(r"^E +Give a class, a function or module:Name\.$", said, re.MULTILINE)
    assert "isolation/testing/ran.py" not in said


@pytest.mark.slow
def test_where_is_said_by_marker_option_and_setting(tmp_path: Path) -> None:
    """In this order; both runs a test twice, under names of its own. No engine is asked here: tests only say where."""
    test = """
import pytest

def test_any(isolation_where):
    print("any", isolation_where)

@pytest.mark.isolation("container")
def test_marked(isolation_where):
    print("marked", isolation_where)
"""

    def said(*arguments: str, ini: str = "") -> list[str]:
        done = in_a_project(tmp_path, test, "-s", *arguments, ini=ini)
        return re.findall(r"((?:any|marked) \w+)", done.stdout)

    assert said() == ["any process", "marked container"]
    assert said("--isolation=container") == ["any container", "marked container"]
    assert said("--isolation=both") == ["any process", "any container", "marked container"]
    assert said(ini="isolation = container\n") == ["any container", "marked container"]
    assert said("--isolation=process", ini="isolation = both\n") == ["any process", "marked container"]
    wrong = in_a_project(tmp_path, test, ini="isolation = nowhere\n")
    assert "isolation is one of process, container, both, not 'nowhere'" in wrong.stdout + wrong.stderr


@pytest.mark.slow
def test_without_an_engine_a_test_in_a_container_fails(tmp_path: Path) -> None:
    """It is not skipped: a test that did not run proves nothing."""
    test = "def test_it(run_scriptlet):\n    run_scriptlet('scriptlet_mine:Double', {'of': 1})\n"
    done = in_a_project(tmp_path, test, "--isolation=both", ISOLATION_ENGINE=f"unix://{tmp_path}/nowhere.sock")

    assert counts(done) == "1 failed, 1 passed"
    assert "test_it[container]" in done.stdout
    assert "EngineUnreachableError" in done.stdout
    assert "isolation doctor" in done.stdout


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_the_same_test_runs_in_a_container(tmp_path: Path) -> None:
    """A class is packed with its module, its secrets are delivered, its logs, outputs and files come back."""
    test = """
import os
import pytest
import scriptlet_mine

def test_class(run_scriptlet, context, isolation_where):
    ran = run_scriptlet(scriptlet_mine.Double, {"of": 21})
    ran.assert_changed({"out": 42})
    assert (ran.outputs["pid"] == os.getpid()) == (isolation_where == "process")
    assert (ran.outputs["where"] == "/package") == (isolation_where == "container")
    assert context.get("out") == 42

def test_function(run_scriptlet):
    secrets, config, features = {"KEY": "a-long-secret"}, {"a": 1}, {"fast": True}
    ran = run_scriptlet("scriptlet_mine:double", secrets=secrets, config=config, features=features)
    assert ran.outputs == {"secret": "A-LONG-SECRET", "is_on": True, "a": 1}

def test_failure(run_scriptlet):
    ran = run_scriptlet("scriptlet_mine:fail")
    ran.assert_failed("ValueError", "purpose")
    assert "in fail" in ran.error.traceback

@pytest.mark.isolation("container")
def test_local(run_scriptlet):
    class Own:
        def run(self, context, params): ...
    with pytest.raises(Exception, match="cannot be run in a container"):
        run_scriptlet(Own)
"""
    done = in_a_project(tmp_path, test, "--isolation=both")

    assert counts(done) == "7 passed", done.stdout


@pytest.mark.slow
def test_the_example_passes_in_this_process(tmp_path: Path) -> None:
    """A copy, as somebody's own project."""
    shutil.copytree(ROOT / "recipes/tested", tmp_path / "tested")
    done = pytest_in(tmp_path / "tested", "-p", "no:cacheprovider")

    assert counts(done) == "8 passed", done.stdout


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_the_example_passes_in_containers(tmp_path: Path) -> None:
    """The same tests, and none of them is another."""
    shutil.copytree(ROOT / "recipes/tested", tmp_path / "tested")
    done = pytest_in(tmp_path / "tested", "-p", "no:cacheprovider", "--isolation=container")

    assert counts(done) == "8 passed", done.stdout


def test_the_plugin_costs_who_does_not_use_it_next_to_nothing(tmp_path: Path) -> None:
    """It is loaded in every session of pytest: nothing of ours comes with it but two small packages."""
    test = """
import sys

def test_loaded():
    assert "isolation.testing.plugin" in sys.modules
    heavy = {"pydantic", "yaml", "docker", "sqlalchemy", "jinja2", "orchestrator", "isolation.testing.kit"}
    assert heavy & {*sys.modules} == set()
"""
    # Plugins that are installed here for our own tests bring packages of theirs.
    only_ours = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin,isolation.testing.plugin"}
    assert counts(in_a_project(tmp_path, test, **only_ours)) == "1 passed"

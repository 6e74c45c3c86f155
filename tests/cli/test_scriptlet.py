"""`isolation scriptlet`: what people see of the scriptlets that there are."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isolation.cli import boundary
from scriptlets.plugin_manager import PluginManager

if TYPE_CHECKING:
    from pathlib import Path

NOT_FOR_USERS = "ANN,COM812,CPY,D,INP,PLR2004,RUF012,S101"
"""Rules that hardly anybody wants of scriptlets and tests; all others hold."""
GOOD = """
class Mine(BaseScriptlet):
    '''Does \x1b[31m mine.'''
    required_params = ("a", "b")
    version = "1.0"
    def run(self, context, params): ...
"""


def test_a_folders_scriptlets_are_listed_and_what_could_not_be_read_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 tells a script so, and a hostile docstring stays text."""
    (tmp_path / "scriptlet_mine.py").write_text(GOOD)
    assert boundary.run(["scriptlet", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "scriptlet  version  module          function  parameters\n"
        "Mine       1.0      scriptlet_mine  Mine      a, b        Does \\x1b[31m mine.\n"
    )

    (tmp_path / "scriptlet_bad.py").write_text("x = (")
    assert boundary.run(["scriptlet", "list", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["scriptlets"]] == ["Mine"]
    assert [one["why"] for one in told["unreadable"]] == [
        "the source is not Python: a bracket or a quote is never closed"
    ]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And without a folder only what is installed is listed."""
    assert boundary.run(["scriptlet", "list", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err == (
        f"isolation: {tmp_path}/x: there is no such folder of scriptlets\nCheck its name.\n"
    )
    assert boundary.run(["scriptlet", "list"]) == 0
    assert capsys.readouterr().out == "no scriptlets\n"


@pytest.mark.slow
def test_a_new_scriptlet_works_and_so_does_its_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As written, in the style of ruff, and as a plugin; the program's way gives the same text."""
    assert boundary.run(["scriptlet", "new", "DataProcessor", "--folder", str(tmp_path / "plugins")]) == 0

    source, test = (
        tmp_path / "plugins/scriptlet_data_processor.py",
        tmp_path / "plugins/test_scriptlet_data_processor.py",
    )
    assert capsys.readouterr().out.splitlines() == [
        str(source),
        str(test),
        f"Test it with `pytest {test}`; in a recipe: module scriptlet_data_processor, function DataProcessorScriptlet.",
    ]
    assert PluginManager().create_scriptlet_template("data_processor") == source.read_text()
    assert PluginManager().load_folder(tmp_path / "plugins") == ["data_processor"]
    for command in (
        ["pytest", "-q", "-n", "0", "-p", "no:cacheprovider"],
        ["ruff", "check", "--isolated", "--no-cache", "--select", "ALL", "--ignore", NOT_FOR_USERS],
        ["ruff", "format", "--isolated", "--no-cache", "--check"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command, "."], cwd=tmp_path / "plugins", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither over the scriptlet nor over its test, and then not the other either."""
    (tmp_path / "test_scriptlet_mine.py").write_text("mine")

    assert boundary.run(["scriptlet", "new", "mine", "--folder", str(tmp_path)]) == 2
    assert "test_scriptlet_mine.py: the file is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["test_scriptlet_mine.py"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("my-scriptlet", "Write it as my_scriptlet."),
        ("2fast", "Write it as fast."),
        ("../../x", "Write it as x."),
        ("é", "Write it as in DataProcessor, or data_processor."),
        ("Scriptlet", "Write it as in DataProcessor, or data_processor."),
        ("_1", "Write it as in DataProcessor, or data_processor."),
        ("x" * 61, f"Write it as {'x' * 60}."),
    ],
)
def test_a_name_that_is_none_is_refused(
    name: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one that would do, where there is one."""
    assert boundary.run(["scriptlet", "new", name, "--folder", str(tmp_path)]) == 2
    assert hint in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []

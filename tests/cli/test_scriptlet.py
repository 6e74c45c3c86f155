"""`isolation scriptlet`: what people see of the scriptlets that there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from isolation.cli import boundary

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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

"""The guide, from its first line to its last; and the tables of docs/patterns.md and docs/framework0.md."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_documents import DOCUMENTS, ROOT, environment

FILE_OR_BLOCK = re.compile(r"(?:`(words/[\w.]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_the_guide_works_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    """Files are written where it says, commands and programs run, and what it shows of them is what they print."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = environment(tmp_path / "state") | {"PATH": programs}
    said = ""
    for name, language, body in FILE_OR_BLOCK.findall((ROOT / "docs/guide.md").read_text(encoding="utf-8")):
        if name:
            (tmp_path / name).write_text(body, encoding="utf-8")
        elif language == "text":
            assert said == body
        else:
            for line in body.splitlines() if language == "bash" else [shlex.join(["python", "-c", body])]:
                command, _, code = line.partition("  # exit code ")
                done = subprocess.run(
                    shlex.split(command), cwd=tmp_path, env=own, capture_output=True, text=True, check=False
                )
                assert done.returncode == int(code or 0), f"{line}\n{done.stdout}\n{done.stderr}"
                said = done.stdout


def test_every_test_that_a_document_names_is_there() -> None:
    """A test that was renamed would leave a promise that nobody can look up."""
    named = {pair for path in DOCUMENTS for pair in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", path.read_text("utf-8"))}

    assert named
    assert [f"{file}::{name}" for file, name in named if f"\ndef {name}(" not in (ROOT / file).read_text("utf-8")] == []


@pytest.mark.parametrize("page", ["patterns", "framework0"])
def test_every_row_of_a_promise_has_a_test_or_comes_later(page: str) -> None:
    """A row without either would be a claim."""
    lines = (ROOT / f"docs/{page}.md").read_text("utf-8").splitlines()
    heads = [number for number, line in enumerate(lines) if line.endswith("| shown by |")]
    rows = [line for number in heads for line in _below(lines, number + 2)]

    assert rows
    assert [row for row in rows if "`tests/" not in row and "comes with the service" not in row.lower()] == []


def _below(lines: list[str], number: int) -> list[str]:
    end = next((at for at in range(number, len(lines)) if not lines[at].startswith("|")), len(lines))
    return lines[number:end]

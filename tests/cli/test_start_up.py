"""Starting fast: what a command does not need is not imported. Seconds are for benchmarks; modules can be counted."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"sqlalchemy", "docker", "h11", "requests", "pydantic", "rich", "psutil", "yaml", "tenacity"}
PROGRAM = """
import sys
from isolation.cli.boundary import run
code = run(sys.argv[1:])
sys.stderr.write(" ".join(name for name in sys.modules if "." not in name))
sys.exit(code)
"""


def imported(tmp_path: Path, *arguments: str) -> set[str]:
    environment = {"ISOLATION_STATE": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    return set(done.stderr.split()) & HEAVY


@pytest.mark.parametrize("line", ["--help", "run --help", "context --help", "run", "completion bash"])
def test_help_imports_nothing_heavy(tmp_path: Path, line: str) -> None:
    """Nor does a mistake: people see both the most often."""
    assert imported(tmp_path, *line.split()) == set()


@pytest.mark.slow
def test_the_context_and_the_record_need_the_database_alone(tmp_path: Path) -> None:
    """No engine is asked, so no engine's library is imported."""
    assert imported(tmp_path, "context", "set", "a", "1") == {"sqlalchemy"}
    assert imported(tmp_path, "runs") == {"sqlalchemy"}
    assert imported(tmp_path, "context", "list", "--json") == {"sqlalchemy"}

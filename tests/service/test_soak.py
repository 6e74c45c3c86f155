"""The soak of benchmarks/, in short: all that comes in an hour is answered, and who has left leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.test_documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_who_has_left_leaves_neither_a_thread_nor_a_descriptor_behind(tmp_path: Path) -> None:
    """Writers, readers, subscribers, followers of logs, browsers, and who writes dumps or makes tokens."""
    kept = tmp_path / "soak.json"
    command = [sys.executable, "benchmarks/soak.py", "--minutes", "0.1", "--slots", "0", "--json", str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    soaked = json.loads(kept.read_text()) if kept.exists() else {}
    assert (done.returncode, soaked.get("wrong"), soaked.get("left")) == (0, {}, []), done.stdout + done.stderr
    assert {*soaked["done"]} == {*soaked["wanted"]}

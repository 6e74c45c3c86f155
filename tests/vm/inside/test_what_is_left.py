"""After all the others: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from isolation.sandbox.groups.make import leftover_groups


def call(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_systemd_knows_no_slice_of_a_run_that_is_over() -> None:
    """It would make the folder anew with the next one, and the list would grow for ever."""
    units = call("systemctl", "list-units", "--all", "--plain", "--no-legend", "isolation-*.slice")

    assert units == ""
    assert leftover_groups() == ()


def test_there_is_nothing_to_clean(tmp_path: Path) -> None:
    """No container, group, uid or folder of some forty runs, hostile ones among them."""
    isolation = Path(sys.executable).parent / "isolation"

    found = json.loads(call(isolation, "--state", tmp_path, "clean", "--json"))

    assert found.keys() >= {"containers", "groups", "uids", "stages"}
    assert not any(found.values())
    assert call("docker", "ps", "--all", "--quiet") == ""
